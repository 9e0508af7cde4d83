/** `service-router`: which requests to a service go where, and how. */
import type {
  FaultPolicy,
  HttpRedirect,
  MirrorPolicy,
  RetryCondition,
  RetryPolicy,
  RouteDestination,
  RoutePolicy,
  RouterPolicy,
} from '../../proxy/policy.ts';
import { type Fields, fault } from '../consul/fields.ts';
import {
  entryFields,
  headerEdits,
  headerEditsPolicy,
  milliseconds,
  optionalMilliseconds,
  places,
  refuseLateTry,
  serviceName,
  subsetName,
  timeout,
} from './common.ts';
import {
  amount,
  beyond,
  described,
  duration,
  flag,
  list,
  needed,
  object,
  percent,
  type Read,
  type Reading,
  text,
  word,
} from './form.ts';
import { covers, requestMatch, routeMatch, shadowed } from './matches.ts';

const conditions = [
  'connect-failure',
  'refused-stream',
  'reset',
  '5xx',
  'gateway-error',
  'retriable-4xx',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const satisfies readonly RetryCondition[];

const retryOn = word(conditions, {
  unsupported: {
    'reset-before-request': 'is not told from other resets; use refused-stream or reset',
    'envoy-ratelimited': 'is Envoy’s own; use RetryOnStatusCodes [429]',
  },
});

/** What Istio retries on where only a number is said, as it is safe for most requests. */
const defaultConditions: readonly RetryCondition[] = [
  'connect-failure',
  'refused-stream',
  'unavailable',
  'cancelled',
];
const defaultStatusCodes: readonly number[] = [503];
/** Envoy's. */
const defaultBackoffMs = 25;
const backoffGrowth = 10;

const mirror = object(
  {
    Service: described(serviceName, 'Where copies go; the router’s own service if not said.'),
    ServiceSubset: subsetName,
    Percent: described(percent(), 'Of the requests that take this route; 100 if not said.'),
    ...places,
  },
  {
    empty: { refusal: 'says nothing: name a Service or a ServiceSubset' },
    check(read, fields) {
      if (read.Service === undefined && read.ServiceSubset === undefined)
        throw fields.fault('missing-field', 'Service', 'name a Service or a ServiceSubset to send copies to');
      if (read.Percent === 0)
        throw fields.fault('without-effect', 'Percent', '0 mirrors nothing; leave Mirror out');
    },
  },
);

const chance = described(percent(), 'How often; always if not said.');
const injectedFault = object(
  {
    Delay: object(
      { Duration: needed(duration({ mostMs: 3_600_000 })), Percent: chance },
      { check: refuseNever },
    ),
    Abort: object(
      { Status: needed(amount({ least: 200, most: 599 })), Percent: chance },
      { check: refuseNever },
    ),
  },
  { empty: { refusal: 'says nothing: give it a Delay, an Abort or both' } },
);

function refuseNever(read: { readonly Percent?: number }, fields: Fields): void {
  if (read.Percent === 0) throw fields.fault('without-effect', 'Percent', '0 never happens; leave it out');
}

const redirect = object(
  {
    Status: described(
      amount({ least: 301, most: 308, zeroIsUnset: true }),
      '301, 302, 303, 307 or 308; 301 if not said.',
    ),
    Host: text({ most: 253, pattern: /^[A-Za-z0-9.:[\]-]+$/, what: 'a host, with a port or without' }),
    Path: text({ most: 2048, pattern: /^\/[^\s\p{Cc}#]*$/u, what: 'a path that starts with /' }),
    Scheme: word(['http', 'https']),
  },
  {
    empty: { refusal: 'says nothing: give it a Host, a Path or a Scheme' },
    check(read, fields) {
      const { Status = 301 } = read;
      if (![301, 302, 303, 307, 308].includes(Status))
        throw fields.fault('invalid-field', 'Status', `${Status} is none of 301, 302, 303, 307, 308`);
      if (read.Host === undefined && read.Path === undefined && read.Scheme === undefined)
        throw fields.fault(
          'without-effect',
          'Status',
          'leads to where the request was; say Host, Path or Scheme',
        );
    },
  },
);

const destinationShape = {
  Service: described(serviceName, 'The router’s own service if not said.'),
  ServiceSubset: described(subsetName, 'The resolver’s default subset if not said.'),
  ...places,
  PrefixRewrite: described(
    text({ most: 2048, pattern: /^\/[^?#\s\p{Cc}]*$/u, what: 'a path that starts with /' }),
    'Put in place of what PathPrefix or PathExact matched.',
  ),
  RequestTimeout: described(
    timeout,
    'From the request’s head to the end of the answer, retries included. If nobody says one, the answer must ' +
      'begin within 15s of the request’s end, and may then take as long as it likes.',
  ),
  IdleTimeout: described(
    timeout,
    'Without a byte in either direction; 5m if nobody says one, 1h for byte streams and WebSockets.',
  ),
  PerTryTimeout: beyond(timeout, 'From sending a try to the head of its answer.'),
  NumRetries: described(
    // Go leaves out what is not set, so a 0 is meant.
    amount({ least: 0, most: 100 }),
    'Besides the first try: 1 where only conditions are said; with 0 nothing is tried again, whatever the ' +
      'conditions, not even what no application has seen. Without conditions: connect-failure, ' +
      'refused-stream, unavailable, cancelled and the status 503. While all of a destination fails, retries add ' +
      'a fifth to its requests at most.',
  ),
  RetryOnConnectFailure: described(flag(), 'As the condition connect-failure.'),
  RetryOn: list(retryOn, conditions.length),
  RetryOnStatusCodes: list(amount({ least: 100, most: 599 }), 64),
  RetryBackoff: beyond(
    object({
      Base: described(duration({ mostMs: 60_000 }), '25ms if not said; doubles with each try, jittered.'),
      Max: described(duration({ mostMs: 300_000 }), 'Ten times the base if not said.'),
    }),
    'How long to wait between tries.',
  ),
  Hedge: beyond(
    object({ After: needed(duration({ mostMs: 60_000 })) }),
    'A second try that starts while the first is silent; the first answer wins.',
  ),
  RequestHeaders: headerEdits,
  ResponseHeaders: headerEdits,
  Mirror: beyond(mirror, 'Copies of requests go there too; their answers are thrown away.'),
  Fault: beyond(injectedFault, 'What is to go wrong, to see what callers make of it.'),
  Redirect: beyond(redirect, 'Answered by the proxy itself instead of being forwarded.'),
};

type Destination = Reading<typeof destinationShape>;

const destination = object(destinationShape, { check: checkDestination });

/** What has no meaning for a request that the proxy answers itself. */
const forwardingOnly = [
  'Service',
  'ServiceSubset',
  'PrefixRewrite',
  'RequestTimeout',
  'IdleTimeout',
  'PerTryTimeout',
  'NumRetries',
  'RetryOnConnectFailure',
  'RetryOn',
  'RetryOnStatusCodes',
  'RetryBackoff',
  'Hedge',
  'RequestHeaders',
  'Mirror',
] as const satisfies readonly (keyof Destination)[];

function checkDestination(read: Destination, fields: Fields): void {
  if (read.Redirect !== undefined)
    for (const name of forwardingOnly)
      if (name in read)
        throw fields.fault('conflicting-fields', name, 'has no effect on what Redirect answers');
  const { RetryBackoff } = read;
  if (RetryBackoff !== undefined && !hasConditions(read) && !read.NumRetries)
    throw fields.fault('without-effect', 'RetryBackoff', 'nothing is retried; say NumRetries or RetryOn');
  const { Base, Max } = RetryBackoff ?? {};
  if (Base !== undefined && Max !== undefined && milliseconds(Max) < milliseconds(Base))
    throw fields.fault('conflicting-fields', 'RetryBackoff', 'has a Max that is shorter than its Base');
  refuseLateTry(read, fields);
  const { Hedge, RequestTimeout } = read;
  if (
    Hedge !== undefined &&
    RequestTimeout !== undefined &&
    milliseconds(Hedge.After) >= milliseconds(RequestTimeout)
  )
    throw fields.fault(
      'without-effect',
      'Hedge',
      `the request ends by RequestTimeout, ${RequestTimeout}, before`,
    );
}

function hasConditions(read: Destination): boolean {
  return (
    read.RetryOnConnectFailure === true || read.RetryOn !== undefined || read.RetryOnStatusCodes !== undefined
  );
}

const route = object(
  { Match: object({ HTTP: routeMatch }), Destination: destination },
  {
    empty: 'kept',
    check(read, fields) {
      const { PathExact, PathPrefix } = read.Match?.HTTP ?? {};
      if (
        read.Destination?.PrefixRewrite !== undefined &&
        PathExact === undefined &&
        PathPrefix === undefined
      )
        throw fields.fault(
          'without-effect',
          'Destination',
          'cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix',
        );
    },
  },
);

export const serviceRouter = object(
  {
    ...entryFields('service-router', serviceName),
    Routes: needed(list(route, 256), 'no routes: delete the entry instead'),
  },
  {
    check(read, fields) {
      const hidden = shadowed(read.Routes, (a, b) => covers(a.Match?.HTTP, b.Match?.HTTP));
      if (hidden !== null)
        throw fault(
          'without-effect',
          `${fields.at('Routes')}[${hidden.at}]`,
          `never decides: [${hidden.by}] comes before it and matches all that it does`,
        );
      const [only] = read.Routes;
      if (read.Routes.length === 1 && covers(only!.Match?.HTTP, {}) && only!.Destination === undefined)
        throw fields.fault('without-effect', 'Routes', 'send everything where it goes anyway');
    },
  },
);

export type ServiceRouter = Read<typeof serviceRouter>;

export function routerPolicy(entry: ServiceRouter): RouterPolicy {
  return {
    rule: `${entry.Kind}/${entry.Name}`,
    service: entry.Name,
    routes: entry.Routes.map(
      ({ Match, Destination = {} }): RoutePolicy => ({
        match: requestMatch(Match?.HTTP),
        destination: routeDestination(Destination, entry.Name),
      }),
    ),
  };
}

function routeDestination(written: Destination, router: string): RouteDestination {
  const { Mirror, Hedge } = written;
  return {
    service: written.Service ?? '',
    subset: written.ServiceSubset ?? '',
    prefixRewrite: written.PrefixRewrite ?? null,
    timeouts: {
      requestMs: optionalMilliseconds(written.RequestTimeout),
      idleMs: optionalMilliseconds(written.IdleTimeout),
      perTryMs: optionalMilliseconds(written.PerTryTimeout),
      connectMs: null,
    },
    retry: hasConditions(written) || written.NumRetries !== undefined ? retryPolicy(written) : null,
    hedge: Hedge === undefined ? null : { afterMs: milliseconds(Hedge.After) },
    requestHeaders: headerEditsPolicy(written.RequestHeaders),
    responseHeaders: headerEditsPolicy(written.ResponseHeaders),
    mirror: Mirror === undefined ? null : mirrorPolicy(Mirror, router),
    fault: faultPolicy(written.Fault),
    redirect: redirectPolicy(written.Redirect),
  };
}

function retryPolicy(written: Destination): RetryPolicy {
  const on = new Set<RetryCondition>(written.RetryOn);
  if (written.RetryOnConnectFailure) on.add('connect-failure');
  const unsaid = on.size === 0 && written.RetryOnStatusCodes === undefined;
  const backoffMs = optionalMilliseconds(written.RetryBackoff?.Base) ?? defaultBackoffMs;
  return {
    maxRetries: written.NumRetries ?? 1,
    on: unsaid ? defaultConditions : [...on],
    statusCodes: unsaid ? defaultStatusCodes : (written.RetryOnStatusCodes ?? []),
    backoffMs,
    maxBackoffMs: optionalMilliseconds(written.RetryBackoff?.Max) ?? backoffGrowth * backoffMs,
  };
}

function mirrorPolicy(written: Read<typeof mirror>, router: string): MirrorPolicy {
  return {
    service: written.Service ?? router,
    subset: written.ServiceSubset ?? '',
    percent: written.Percent ?? 100,
  };
}

function faultPolicy(written: Read<typeof injectedFault> | undefined): FaultPolicy | null {
  if (written === undefined) return null;
  const { Delay, Abort } = written;
  return {
    delay: Delay === undefined ? null : { ms: milliseconds(Delay.Duration), percent: Delay.Percent ?? 100 },
    abort: Abort === undefined ? null : { status: Abort.Status, percent: Abort.Percent ?? 100 },
  };
}

function redirectPolicy(written: Read<typeof redirect> | undefined): HttpRedirect | null {
  if (written === undefined) return null;
  const { Status = 301, Host = '', Path = '', Scheme = '' } = written;
  return { status: Status, host: Host, path: Path, scheme: Scheme };
}
