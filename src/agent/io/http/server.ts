/**
 * The local HTTP API: takes requests in, decides whether they may, waits when they block, and hands them to
 * the route table. What each path answers is in the `*-routes.ts` files.
 */
import { chmod } from 'node:fs/promises';
import { isIP, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { Fault, messageOf, type Signer } from '../../../core.ts';
import { refusalOf } from '../../access.ts';
import { maxWaiting, Waiters } from '../../blocking.ts';
import type { AgentPort } from '../../port.ts';
import type { HttpAddress } from '../../settings.ts';
import { agentRoutes } from './agent-routes.ts';
import { waitForChange } from './blocked.ts';
import { Bodies } from './bodies.ts';
import { caRoutes } from './ca-routes.ts';
import { CallerLookup } from './caller.ts';
import { catalogRoutes } from './catalog-routes.ts';
import { chainRoutes } from './chain-routes.ts';
import { checkRoutes } from './check-routes.ts';
import { ClientRates, TooOften } from './client-rates.ts';
import { configRoutes } from './config-routes.ts';
import { denyRoutes } from './deny-routes.ts';
import { discoveryRoutes } from './discovery-routes.ts';
import { EventStreams } from './event-stream.ts';
import { explainRoutes } from './explain-routes.ts';
import { isOurs, lineOf, statusOf } from './failure.ts';
import { filtered, filterOf } from './filtered.ts';
import { healthRoutes } from './health-routes.ts';
import { intentionRoutes } from './intention-routes.ts';
import { meshRoutes } from './mesh-routes.ts';
import { operationRoutes } from './operation-routes.ts';
import { refusalOfOrigin } from './origin.ts';
import { policyRoutes } from './policy-routes.ts';
import type { Answer, ApiContext, ApiRequest, Route } from './route.ts';
import { removeStaleSocket } from './stale-socket.ts';
import { trafficRoutes } from './traffic-routes.ts';
import { notBuilt } from './unsupported.ts';

/** A header and body must arrive within this. */
const requestTimeoutMs = 30_000;
const maxParameterLength = 512;
/** Of the unix socket: the kernel does not tell who connects, and whoever does may do all that the agent may. */
const socketMode = 0o600;
/** Connections at once; those beyond are closed as they come. Leaves room beside the blocking queries. */
const maxConnections = 2 * maxWaiting;

export interface HttpServerOptions {
  readonly agent: AgentPort;
  /** Port 0 picks a free one. */
  readonly listen: HttpAddress;
  /** The signer behind an operator token's text; throws `Fault` when it is none. */
  readonly parseOperator: (text: string) => Signer;
  /** uid of a user name of this host; null when there is none. */
  readonly uidOfUser: (name: string) => number | null;
  /** Names beside IP literals and localhost by which this agent may be addressed. */
  readonly hostNames?: readonly string[];
  readonly agentUid?: number;
  readonly maxWaiting?: number;
  readonly maxHeldBytes?: number;
  readonly rates?: ClientRates;
  /** Told of requests that failed through no fault of the caller. */
  readonly onError?: (event: {
    readonly method: string;
    readonly path: string;
    readonly error: string;
  }) => void;
}

export interface HttpServer {
  /** `ADDR:PORT` or `unix:PATH`, with the port really bound. */
  readonly address: string;
  /** Null for a unix socket. */
  readonly port: number | null;
  readonly waiting: () => number;
  /** Answers what waits, finishes what runs for at most `graceMs`, then cuts. */
  close(graceMs?: number): Promise<void>;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly maxBodyBytes?: number;
  }
}

/** Why a key that signs properly signs nothing here. */
const standingProblems = {
  expired: 'the operator token has expired',
  revoked: 'the operator token was revoked',
  unknown: 'the token is not one of an operator of this mesh',
} as const;

/** Every path there is. */
export const allRoutes: readonly Route[] = [
  ...agentRoutes,
  ...checkRoutes,
  ...catalogRoutes,
  ...healthRoutes,
  ...configRoutes,
  ...intentionRoutes,
  ...chainRoutes,
  ...policyRoutes,
  ...meshRoutes,
  ...trafficRoutes,
  ...caRoutes,
  ...denyRoutes,
  ...discoveryRoutes,
  ...explainRoutes,
  ...operationRoutes,
];

/** Starts listening; resolves once requests are accepted. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const api = new Api(options);
  const app = api.build();
  const { listen } = options;
  await bind(app, listen);
  const stopListening = options.agent.onChange((topics) => api.waiters.wake(topics));
  return {
    address: boundAddress(app, listen),
    port: 'path' in listen ? null : boundPort(app, listen.port),
    waiting: () => api.waiters.count,
    async close(graceMs = 2000) {
      stopListening();
      api.stop();
      const cut = setTimeout(() => app.server.closeAllConnections(), graceMs);
      await app.close();
      clearTimeout(cut);
    },
  };
}

async function bind(app: FastifyInstance, listen: HttpAddress): Promise<void> {
  const where = 'path' in listen ? `unix:${listen.path}` : `${listen.address}:${listen.port}`;
  try {
    if ('path' in listen) {
      await removeStaleSocket(listen.path);
      await app.listen({ path: listen.path });
      await chmod(listen.path, socketMode);
    } else await app.listen({ host: listen.address, port: listen.port });
  } catch (error) {
    await app.close();
    if (error instanceof Fault) throw error;
    throw new Fault('address-in-use', `HTTP API on ${where}: ${messageOf(error)}`, { field: 'http' });
  }
}

function boundAddress(app: FastifyInstance, listen: HttpAddress): string {
  if ('path' in listen) return `unix:${listen.path}`;
  const port = boundPort(app, listen.port);
  return isIP(listen.address) === 6 ? `[${listen.address}]:${port}` : `${listen.address}:${port}`;
}

function boundPort(app: FastifyInstance, wanted: number): number {
  const bound = app.server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : wanted;
}

class Api {
  readonly waiters: Waiters;
  private readonly options: HttpServerOptions;
  private readonly context: ApiContext;
  private readonly callers: CallerLookup;
  private readonly bodies: Bodies;
  private readonly rates: ClientRates;
  private readonly agentUid: number;
  private stopping = false;

  constructor(options: HttpServerOptions) {
    this.options = options;
    this.waiters = new Waiters(options.maxWaiting ?? maxWaiting);
    this.context = {
      agent: options.agent,
      routes: allRoutes,
      uidOfUser: options.uidOfUser,
      streams: new EventStreams(options.agent.events),
      inTurn: oneAtATime(),
    };
    this.rates = options.rates ?? new ClientRates();
    this.bodies = new Bodies(options.maxHeldBytes);
    this.callers = new CallerLookup('path' in options.listen);
    this.agentUid = options.agentUid ?? process.getuid?.() ?? -1;
  }

  stop(): void {
    this.stopping = true;
    this.waiters.wakeAll();
    this.context.streams.endAll();
  }

  build(): FastifyInstance {
    const app = fastify({
      requestTimeout: requestTimeoutMs,
      clientErrorHandler: refuseUnread,
      // A path that has no route to be read by: escapes that are none, a name that is too long.
      frameworkErrors: (error, request, reply) => this.fail(styleOf(request), error, request, reply),
      forceCloseConnections: 'idle',
      routerOptions: { maxParamLength: maxParameterLength },
      schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
    });
    app.server.maxConnections = maxConnections;
    // Consul's clients send JSON under any content type, or none.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (request: FastifyRequest) =>
      this.bodies.take(request.raw, this.mostBytesOf(request)),
    );
    if (!('path' in this.options.listen))
      app.addHook('onRequest', async (request) => {
        const { host, origin } = request.headers;
        const refusal = refusalOfOrigin(host, origin, this.options.hostNames ?? []);
        if (refusal !== null) throw refusal;
      });
    for (const route of allRoutes)
      app.route({
        method: route.method,
        url: route.path,
        ...(route.maxBodyBytes === undefined ? {} : { config: { maxBodyBytes: route.maxBodyBytes } }),
        handler: (request, reply) => this.handle(route, request, reply),
        errorHandler: (error, request, reply) => this.fail(route.style, error, request, reply),
      });
    for (const { path, allowed, refused } of wrongMethods())
      app.route({
        method: refused,
        url: path,
        handler: (request, reply) => {
          // As Consul: what may be asked, and no word of who may ask from where, so that no browser goes on.
          if (request.method === 'OPTIONS')
            return reply.header('Allow', ['OPTIONS', ...allowed].join(', ')).send();
          reply.header('Allow', allowed.join(', '));
          throw new Fault('wrong-method', `method ${request.method} not allowed`);
        },
      });
    app.setErrorHandler((error, request, reply) => this.fail(styleOf(request), error, request, reply));
    app.setNotFoundHandler((request, reply) => this.unknown(request, reply));
    return app;
  }

  /** Large bodies are taken of operators alone: a few of them are all that is held at once. */
  private mostBytesOf(request: FastifyRequest): number | undefined {
    const { maxBodyBytes } = request.routeOptions.config;
    if (maxBodyBytes === undefined || this.operatorBehind(request).signer === null) return undefined;
    return maxBodyBytes;
  }

  private async handle(route: Route, raw: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const request = await this.admit(route, raw);
    const { context } = this;
    refuseContradiction(request.query);
    const filter = filterOf(route, request);
    if (route.topic !== undefined) {
      const topic = route.topic(context, request);
      const outcome = await waitForChange({
        route,
        topic,
        context,
        request,
        waiters: this.waiters,
        response: reply.raw,
        stopping: () => this.stopping,
      });
      if (outcome === 'gone') return reply.hijack();
      const index = context.agent.catalog.indexOf(topic);
      const answer = filtered(route, await route.answer(context, request), filter);
      return this.send(reply, request, answer, index);
    }
    const answer = filtered(route, await route.answer(context, request), filter);
    return this.send(reply, request, answer, context.agent.catalog.index);
  }

  /** Decodes a request and finds out who sent it; throws the refusal if they may not. */
  private async admit(route: Route, raw: FastifyRequest): Promise<ApiRequest> {
    const { signer: operator, problem } = this.operatorBehind(raw);
    const caller =
      route.access === 'read' && this.callers.isLoopback(raw.raw.socket)
        ? ({ type: 'local', uid: null } as const)
        : await this.callers.of(raw.raw.socket);
    const query = raw.url.indexOf('?');
    const request: ApiRequest = {
      params: raw.params as ApiRequest['params'],
      query: new URLSearchParams(query < 0 ? '' : raw.url.slice(query + 1)),
      headers: raw.headers,
      body: Buffer.isBuffer(raw.body) ? raw.body : new Uint8Array(0),
      caller,
      authority: { agentUid: this.agentUid, operator: operator !== null },
      operator,
    };
    const tooOften = this.rates.refusalOf(
      request,
      raw.raw.socket,
      route.access === 'read',
      performance.now(),
    );
    if (tooOften !== null) throw tooOften;
    const demand =
      typeof route.access === 'function' ? route.access(this.context, request) : { type: route.access };
    const refusal = refusalOf(caller, demand, request.authority);
    if (refusal === null) return request;
    throw problem === null ? refusal : new Fault(refusal.code, `${refusal.message}: ${problem}`);
  }

  /**
   * The operator whose token came along, or why the token is none. As in Consul, a token that says nothing
   * hinders nobody from what everybody may.
   */
  private operatorBehind(raw: FastifyRequest): {
    readonly signer: Signer | null;
    readonly problem: string | null;
  } {
    const header = raw.headers['x-consul-token'];
    const bearer = /^Bearer\s+(\S+)$/i.exec(raw.headers.authorization ?? '')?.[1];
    const text = typeof header === 'string' && header !== '' ? header : bearer;
    if (text === undefined) return { signer: null, problem: null };
    try {
      const signer = this.options.parseOperator(text.trim());
      const standing = this.options.agent.operatorStanding(signer.publicKey);
      if (standing === 'operator') return { signer, problem: null };
      return { signer: null, problem: standingProblems[standing] };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { signer: null, problem: error.message };
    }
  }

  private send(reply: FastifyReply, request: ApiRequest, answer: Answer, index: number): unknown {
    reply.code(answer.status ?? 200);
    reply.header('X-Consul-Index', String(Math.max(1, index)));
    reply.header('X-Consul-KnownLeader', 'true');
    reply.header('X-Consul-LastContact', '0');
    reply.header('X-Consul-Effective-Consistency', 'stale');
    reply.header('X-Consul-Query-Backend', 'blocking-query');
    reply.header('X-Consul-Default-ACL-Policy', this.context.agent.view().defaultIntention);
    reply.header('Vary', 'Accept-Encoding');
    if (request.query.has('cached')) {
      reply.header('X-Cache', 'HIT');
      reply.header('Age', '0');
    }
    for (const [name, value] of Object.entries(answer.headers ?? {})) reply.header(name, value);
    // To HEAD fastify would read the stream to its end, which does not come.
    if (answer.body instanceof Readable && reply.request.method === 'HEAD') answer.body.destroy();
    if (answer.contentType !== undefined) return reply.type(answer.contentType).send(answer.body);
    const indent = request.query.has('pretty') ? 4 : 0;
    return reply.type('application/json').send(JSON.stringify(answer.body ?? null, null, indent));
  }

  private fail(style: Route['style'], error: unknown, request: FastifyRequest, reply: FastifyReply): unknown {
    const fault = asFault(error);
    const status = fault.code === 'transport' ? statusOfTransport(error) : statusOf(fault);
    if (status === 500 && isOurs(fault))
      this.options.onError?.({
        method: request.method,
        path: request.routeOptions.url ?? '',
        error: fault.message,
      });
    reply.code(status);
    if (error instanceof TooOften) reply.header('Retry-After', String(error.retryAfterSeconds));
    // What is still to come of a body that was refused is not worth reading.
    if (status === 413 || fault.code === 'overloaded') reply.header('Connection', 'close');
    if (style === 'starling')
      return reply
        .type('application/json')
        .send(JSON.stringify({ code: fault.code, message: fault.message, field: fault.field }));
    return reply.type('text/plain; charset=utf-8').send(lineOf(fault));
  }

  private unknown(request: FastifyRequest, reply: FastifyReply): unknown {
    const path = request.url.split('?')[0]!;
    const unsupported = notBuilt(path);
    const message = 'Invalid URL path: not a recognized HTTP API endpoint';
    return this.fail(styleOf(request), unsupported ?? new Fault('not-found', message), request, reply);
  }
}

/** Of what no route was found for: paths below `/v1/mesh` are Starling's, others could be Consul's. */
function styleOf({ url }: FastifyRequest): Route['style'] {
  return /^\/v1\/mesh(?:[/?]|$)/.test(url) ? 'starling' : 'consul';
}

/** As Consul: what is asked for twice in different ways is answered in neither. */
function refuseContradiction(query: URLSearchParams): void {
  for (const other of ['stale', 'cached'])
    if (query.has('consistent') && query.has(other))
      throw new Fault('bad-query', `Cannot specify ?${other} with ?consistent, conflicting semantics.`);
}

/** Starts each change once the one before has ended, however it ended. */
function oneAtATime(): ApiContext['inTurn'] {
  let last: Promise<unknown> = Promise.resolve();
  return (change) => {
    const result = last.then(change, change);
    last = result.catch(() => undefined);
    return result;
  };
}

/** Routes judge what they are sent themselves: Fastify loads its compilers of schemas only for who asks for them. */
function noSchemas(): never {
  throw new Error('a route of the API has a schema of Fastify');
}

/** Answers what is no request that could be read, in the words of Go's server, which is Consul's. */
function refuseUnread(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  const head = `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n`;
  socket.end(head + status);
}

/** Each path with the methods it has not, which are refused by name instead of as an unknown path. */
function wrongMethods(): { readonly path: string; readonly allowed: string[]; readonly refused: string[] }[] {
  const byPath = new Map<string, Set<string>>();
  for (const { path, method } of allRoutes) byPath.set(path, (byPath.get(path) ?? new Set()).add(method));
  return [...byPath].map(([path, allowed]) => ({
    path,
    allowed: [...allowed],
    refused: ['GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'].filter(
      (method) => !allowed.has(method as Route['method']),
    ),
  }));
}

function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault(isTransport(error) ? 'transport' : 'internal', messageOf(error));
}

/** fastify's own refusals carry a status: a body too large, a broken content length. */
function isTransport(error: unknown): error is Error & { statusCode: number } {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number';
}

function statusOfTransport(error: unknown): number {
  return isTransport(error) && error.statusCode >= 400 && error.statusCode < 500 ? error.statusCode : 500;
}
