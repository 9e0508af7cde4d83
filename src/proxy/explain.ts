/**
 * What becomes of one call, told step by step by the very functions that proxies run: the caller's proxy chooses a
 * route, its targets and their endpoints; the callee's proxy decides whether the caller may. Pure.
 */

import { clusterIdOf, spiffeIdOf } from './compile/names.ts';
import type { Cluster, Destination, ProxyConfig, Route, SplitTarget } from './config.ts';
import { Permissions } from './http1/admission.ts';
import { RequestFacts, targetOf } from './http1/facts.ts';
import { malformed, RequestHead } from './http1/head.ts';
import { CompiledMatch } from './http1/match.ts';
import { compileRewrite } from './http1/rewrite.ts';
import { settlePath } from './http1/route-table.ts';
import { precedence, ruleFor, rulesFor } from './intentions.ts';
import type { HeaderEdits, HeaderValue } from './policy.ts';
import type { IntentionView, Protocol } from './view.ts';

/** One call as an application would make it. */
export interface Call {
  readonly source: string;
  readonly destination: string;
  /** Where the instances are that it is for; the host's own where it is absent. */
  readonly datacenter?: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: readonly HeaderValue[];
}

export type Verdict = 'forwarded' | 'partly-forwarded' | 'denied' | 'redirected' | 'refused';

export interface CallTrace {
  readonly verdict: Verdict;
  /** One sentence. */
  readonly why: string;
  readonly caller: { readonly service: string; readonly spiffeId: string };
  /** Null where the mesh knows none of this name. */
  readonly destination: { readonly service: string; readonly protocol: Protocol } | null;
  readonly route: RouteTrace | null;
  /** Empty where nothing is forwarded. */
  readonly targets: readonly TargetTrace[];
}

export interface RouteTrace {
  /** Which of the destination's routes, from 0. */
  readonly index: number;
  readonly of: number;
  /** The path that policy saw, and the one that goes on. */
  readonly path: string;
  readonly forwardedPath: string;
  readonly route: Route;
}

/** One place that the call may go to, by a split. */
export interface TargetTrace {
  /** 0 to 1. */
  readonly share: number;
  /** The splitter's record; '' where nothing is split. */
  readonly rule: string;
  /** The cluster of the split, then those that would take over, in order. */
  readonly clusters: readonly Cluster[];
  /** The first of them with an endpoint; null where there is none. */
  readonly cluster: Cluster | null;
  readonly authorization: Authorization;
}

export interface Authorization {
  readonly allowed: boolean;
  /** The record that decides; null for the mesh's default. */
  readonly rule: string | null;
  /** The source that the rule names: the caller or `*`; null for the default. */
  readonly source: string | null;
  /** The destination that the rule names: the service or `*`. */
  readonly destination: string | null;
  /** Consul's number of the rule; 0 for the default. */
  readonly precedence: number;
  /** At layer 7, which permission decided, from 0; null where none matches, or at layer 4. */
  readonly permission: number | null;
  readonly isLayer7: boolean;
}

/** What deciding needs beside the configuration: rules are compiled only where a service is. */
export interface Rules {
  readonly intentions: readonly IntentionView[];
  readonly defaultIntention: 'allow' | 'deny';
}

const facts = new RequestFacts();

export function traceCall(config: ProxyConfig, rules: Rules, call: Call): CallTrace {
  const { datacenter, trustDomain } = config;
  const caller = { service: call.source, spiffeId: spiffeIdOf(call.source, datacenter, trustDomain) };
  const nothing = { caller, destination: null, route: null, targets: [] };
  const wanted = nameOf(call, datacenter);
  const destination = config.destinations.find(({ id }) => id === wanted);
  if (destination === undefined)
    return { ...nothing, verdict: 'refused', why: `the mesh has no service ${wanted}` };
  const asked = { service: destination.service, protocol: destination.protocol };
  const chosen = chooseRoute(destination, config.domain, call);
  if (typeof chosen === 'string') return { ...nothing, destination: asked, verdict: 'refused', why: chosen };
  const { route } = chosen;
  if (route.redirect !== null)
    return {
      ...{ caller, destination: asked, route: chosen, targets: [], verdict: 'redirected' },
      why: `the caller's proxy answers with a redirect (${route.redirect.status})`,
    };
  const isHttp = destination.protocol !== 'tcp';
  const targets = route.split.map((split) =>
    traceTarget(config, rules, { ...call, path: chosen.forwardedPath }, route, split, isHttp),
  );
  const { verdict, why } = verdictOf({ config, call, wanted, isHttp }, route, targets);
  return { caller, destination: asked, route: chosen, targets, verdict, why };
}

/** What is called, as destinations are named on a host of the datacenter `own`. */
export function nameOf({ destination, datacenter }: Call, own: string): string {
  return clusterIdOf(destination, '', datacenter ?? own, own);
}

/** The path of a call as policy looks at it, without its query; null where it can be read in several ways. */
export function settledPath(call: Call): string | null {
  const read = readCall(call, call.destination);
  if (typeof read === 'string' || settlePath(read.bytes, read.head) !== null) return null;
  return facts.of(read.bytes, read.head).path;
}

/** The first route that matches; a sentence where there is none, or where the request is none. */
function chooseRoute(destination: Destination, domain: string, call: Call): RouteTrace | string {
  const { routes } = destination;
  if (destination.protocol === 'tcp') {
    const index = routes.length - 1;
    return { index, of: routes.length, path: call.path, forwardedPath: call.path, route: routes[index]! };
  }
  const read = readCall(call, `${call.destination}.${domain}`);
  if (typeof read === 'string') return read;
  const { bytes, head } = read;
  const looksAtPaths = routes.some(
    (route) => (route.match?.path ?? null) !== null || route.prefixRewrite !== null,
  );
  const unclear = looksAtPaths ? settlePath(bytes, head) : null;
  if (unclear !== null) return unclear.text;
  facts.of(bytes, head);
  const index = routes.findIndex(({ match }) => match === null || new CompiledMatch(match).holds(facts));
  const route = routes[index];
  if (route === undefined) return 'no route matches the request';
  const path = targetOf(bytes, head);
  const { prefixRewrite } = route;
  const forwardedPath =
    prefixRewrite === null
      ? path
      : compileRewrite(prefixRewrite, route.match?.path ?? null)(bytes, head).toString('latin1');
  return { index, of: routes.length, path, forwardedPath, route };
}

/** The call as the bytes that a proxy reads; a sentence where it would not read them. */
function readCall(call: Call, host: string): { readonly bytes: Buffer; readonly head: RequestHead } | string {
  const lines = call.headers.map(({ name, value }) => `${name}: ${value}\r\n`).join('');
  const hosts = call.headers.some(({ name }) => name === 'host') ? '' : `host: ${host}\r\n`;
  const bytes = Buffer.from(`${call.method} ${call.path} HTTP/1.1\r\n${hosts}${lines}\r\n`, 'latin1');
  const head = new RequestHead();
  const end = head.parse(bytes, 0, bytes.length);
  if (end === malformed) return `the proxy refuses the request: ${head.problem}`;
  return end === bytes.length ? { bytes, head } : 'the request is not one request';
}

function traceTarget(
  config: ProxyConfig,
  rules: Rules,
  call: Call,
  route: Route,
  split: SplitTarget,
  isHttp: boolean,
): TargetTrace {
  const first = config.clusters.find(({ id }) => id === split.cluster);
  const others = (first?.failover ?? []).flatMap((id) => config.clusters.filter((one) => one.id === id));
  const clusters = first === undefined ? [] : [first, ...others];
  const cluster = clusters.find(({ endpoints }) => endpoints.length > 0) ?? null;
  const service = cluster?.service ?? first?.service ?? call.destination;
  const edited = withEdits(withEdits(call.headers, route.requestHeaders), split.requestHeaders);
  return {
    share: split.weight / 10_000,
    rule: split.rule,
    clusters,
    cluster,
    authorization: authorize(rules, service, { ...call, headers: edited }, isHttp),
  };
}

function withEdits(headers: readonly HeaderValue[], edits: HeaderEdits | null): readonly HeaderValue[] {
  if (edits === null) return headers;
  const gone = new Set([...edits.remove, ...edits.set.map(({ name }) => name)]);
  return [...headers.filter(({ name }) => !gone.has(name)), ...edits.set, ...edits.add];
}

/** What the proxy of the callee decides. */
export function authorize(rules: Rules, service: string, call: Call, isHttp: boolean): Authorization {
  const rule = ruleFor(rulesFor(service, rules.intentions), call.source);
  if (rule === null)
    return {
      ...{ allowed: rules.defaultIntention === 'allow', rule: null, source: null, destination: null },
      ...{ precedence: 0, permission: null, isLayer7: false },
    };
  const destination = rule.rule.endsWith('/*') ? '*' : service;
  const decided = {
    ...{ rule: rule.rule, source: rule.source, destination },
    precedence: precedence(rule.source, destination),
  };
  if (rule.permissions === null || !isHttp)
    return { ...decided, allowed: rule.action === 'allow', permission: null, isLayer7: false };
  const read = readCall(call, service);
  const permissions = new Permissions(rule.permissions, rule.rule);
  if (typeof read === 'string' || (permissions.looksAtPaths && !read.head.normalisePath(read.bytes)))
    return { ...decided, allowed: false, permission: null, isLayer7: true };
  const permission = permissions.first(facts.of(read.bytes, read.head));
  return {
    ...decided,
    allowed: permissions.isAllowedBy(permission),
    permission: permission < 0 ? null : permission,
    isLayer7: true,
  };
}

interface Asked {
  readonly config: ProxyConfig;
  readonly call: Call;
  /** What is called, as destinations are named. */
  readonly wanted: string;
  readonly isHttp: boolean;
}

/** What the caller gets is said first: where nobody can be asked, the denial of who would be is beside the point. */
function verdictOf(
  asked: Asked,
  { rule, fault }: Route,
  targets: readonly TargetTrace[],
): { readonly verdict: Verdict; readonly why: string } {
  const good = targets.filter(({ cluster, authorization }) => cluster !== null && authorization.allowed);
  const denied = targets.filter(({ authorization }) => !authorization.allowed);
  const besides = denied.length === 0 ? '' : `; it would be denied as well: ${denialText(asked, denied[0]!)}`;
  const pair = `${asked.call.source} -> ${asked.wanted}`;
  const abort = fault?.abort ?? null;
  const aborted = abort?.percent ?? 0;
  if (aborted >= 100) {
    const why = `${rule} has every request answered ${abort!.status} (Fault.Abort)`;
    return { verdict: 'refused', why: good.length === 0 ? `${why}${besides}` : why };
  }
  if (good.length === targets.length && good.length > 0 && aborted === 0)
    return { verdict: 'forwarded', why: `${pair} is forwarded` };
  if (good.length > 0) {
    const share = good.reduce((sum, target) => sum + target.share, 0) * (1 - aborted / 100);
    const percent = (share * 100).toFixed(2).replace(/\.?0+$/, '');
    const fault = aborted === 0 ? '' : `, ${rule} answers ${aborted} % itself (Fault.Abort)`;
    return { verdict: 'partly-forwarded', why: `${percent} % of ${pair} is forwarded${fault}` };
  }
  const reached = denied.find(({ cluster }) => cluster !== null);
  if (reached !== undefined) return { verdict: 'denied', why: denialText(asked, reached) };
  return { verdict: 'refused', why: `${nobodyText(asked, targets[0])}${besides}` };
}

function nobodyText({ wanted, isHttp }: Asked, target: TargetTrace | undefined): string {
  const first = target?.clusters[0];
  const out = first?.outOfRotation ?? 0;
  const none = `${isHttp ? '503 ' : ''}no-healthy-upstream: ${first?.id ?? wanted} has no endpoint in rotation`;
  return out === 0 ? none : `${none}, ${out} out of rotation`;
}

/** The pair is the caller and who is asked in the end, which a route may have made another than who was called. */
function denialText(
  { config, call, wanted }: Asked,
  { cluster, clusters, authorization }: TargetTrace,
): string {
  const asked = cluster ?? clusters[0];
  const callee =
    asked === undefined ? wanted : clusterIdOf(asked.service, '', asked.datacenter, config.datacenter);
  return `${call.source} -> ${callee}: ${ruleText(authorization)}`;
}

function ruleText({ rule, permission, isLayer7 }: Authorization): string {
  if (rule === null) return 'denied by default: no intention speaks of this pair';
  if (!isLayer7) return `denied by ${rule}`;
  return permission === null
    ? `denied by ${rule}: no permission matches`
    : `denied by ${rule}, permission ${permission + 1}`;
}
