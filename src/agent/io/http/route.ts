/** What one path of the local API is: a row of the route table, from which the server and its document come. */
import type { TSchema } from 'typebox';
import { Fault, type HostId, parseJson, type Signer } from '../../../core.ts';
import type { Shape } from '../../../proxy/filter/shape.ts';
import type { Authority, Caller, Demand } from '../../access.ts';
import type { HostEntry, ServiceEntry, Topic } from '../../catalog/catalog.ts';
import type { AgentPort } from '../../port.ts';
import type { EventStreams } from './event-stream.ts';
import type { Keep } from './filtered.ts';

/** What handlers may use beside the request. */
export interface ApiContext {
  readonly agent: AgentPort;
  /** Every path there is, for the document that describes them. */
  readonly routes: readonly Route[];
  /** uid of a user name of this host; null when there is no such user. */
  readonly uidOfUser: (name: string) => number | null;
  readonly streams: EventStreams;
  /** Runs changes that read before they write one after another, so that none undoes another. */
  readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
}

/** One request, its parts decoded; nothing in it is trusted yet. */
export interface ApiRequest {
  readonly params: { readonly [name: string]: string };
  readonly query: URLSearchParams;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: Uint8Array;
  /** Known for everything but reads from loopback, where it does not matter. */
  readonly caller: Caller;
  readonly authority: Authority;
  /** Signs as the operator whose token came along; null without a valid one. */
  readonly operator: Signer | null;
}

export interface Answer {
  readonly status?: number;
  /** Sent as JSON, unless it is a `string` or a stream and `contentType` says otherwise. */
  readonly body: unknown;
  readonly contentType?: string;
  readonly headers?: { readonly [name: string]: string };
}

export type Access = 'read' | 'host' | 'mesh' | ((context: ApiContext, request: ApiRequest) => Demand);

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** With `:name` for parameters. */
  readonly path: string;
  readonly summary: string;
  /** `consul`: errors are text. `starling`: errors are `{code, message, field}`. */
  readonly style: 'consul' | 'starling';
  readonly access: Access;
  /** Who may, where `access` alone does not tell the document. */
  readonly accessNote?: string;
  /** Documented query parameters, beside those that every read of Consul's takes. */
  readonly query?: readonly string[];
  readonly bodySchema?: TSchema;
  /** Where the bodies that it takes may be larger than others. */
  readonly maxBodyBytes?: number;
  /** What a blocking query of this path waits for; without it the path never blocks. */
  readonly topic?: (context: ApiContext, request: ApiRequest) => Topic;
  /** What `?filter` chooses from; without it the path takes none. */
  readonly filter?: { readonly shape: Shape | ((request: ApiRequest) => Shape); readonly keep: Keep };
  /** The present hash of what is answered, for paths that can also block by `?hash=`. */
  readonly hash?: (context: ApiContext, request: ApiRequest) => string;
  readonly answer: (context: ApiContext, request: ApiRequest) => Answer | Promise<Answer>;
}

export function json(body: unknown, status = 200): Answer {
  return { status, body };
}

export function text(body: string, status = 200, contentType = 'text/plain; charset=utf-8'): Answer {
  return { status, body, contentType };
}

/** The body as JSON; `Fault('malformed')` when it is none. */
export function bodyJson(request: ApiRequest): unknown {
  if (request.body.length === 0) throw new Fault('malformed', 'Request decode failed: the body is empty');
  try {
    return parseJson(request.body);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(error.code, `Request decode failed: ${error.message}`);
  }
}

/** A required query parameter. */
export function needed(request: ApiRequest, name: string): string {
  const value = request.query.get(name);
  if (value === null || value === '')
    throw new Fault('bad-query', `required query parameter '${name}' not set`, { field: name });
  return value;
}

/** Every spelling that Go's `strconv.ParseBool` takes, for Consul takes them; null for any other. */
export function parseSwitch(text: string): boolean | null {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : null;
}

/** Whether a switch such as `?passing` or `?passing=1` is on. `Fault('bad-query')` for any other value. */
export function switchedOn(request: ApiRequest, name: string): boolean {
  const value = request.query.get(name);
  if (value === null || value === '') return value === '';
  const on = parseSwitch(value);
  if (on === null) throw new Fault('bad-query', 'must be true or false', { field: name });
  return on;
}

/** The operator who signs; the access table has let nobody else through. */
export function operatorOf(request: ApiRequest): Signer {
  if (request.operator === null)
    throw new Fault('operator-needed', 'Permission denied: this needs an operator token');
  return request.operator;
}

/** This host's entry in the catalog. */
export function ownHost({ agent }: ApiContext): HostEntry {
  const host = agent.catalog.host(agent.self.id);
  if (host === undefined) throw new Fault('unavailable', 'This agent has not joined its mesh yet');
  return host;
}

/** A service instance of this host, by id. */
export function ownService(context: ApiContext, id: string): ServiceEntry {
  const entry = context.agent.catalog.host(context.agent.self.id)?.services.get(id);
  if (entry === undefined)
    throw new Fault(
      'not-found',
      `Unknown service ID "${id}". Ensure that the service ID is passed, not the service name.`,
    );
  return entry;
}

/** A host by name, Consul node id or host id. */
export function hostOf({ agent }: ApiContext, name: string): HostEntry | undefined {
  return agent.catalog.hostNamed(name) ?? agent.catalog.host(name as HostId);
}

/** The datacenter a read is about: `?dc`, else this agent's own. `Fault('no-datacenter')` if unknown. */
export function datacenterOf({ agent }: ApiContext, request: ApiRequest): string {
  const asked = request.query.get('dc');
  if (asked === null || asked === '' || asked === agent.self.datacenter) return agent.self.datacenter;
  if (!agent.catalog.presentHosts().some((host) => host.value.datacenter === asked))
    throw new Fault('no-datacenter', 'No path to datacenter');
  return asked;
}
