/** Reads Consul's check definitions, alone or within a service's, and writes them back. */
import type { Fault } from '../../core.ts';
import type { CheckDefinition, CheckStatus, CheckType, StandaloneCheck } from '../kinds.ts';
import { goDuration } from './consul.ts';
import { Fields } from './fields.ts';

/** Where a definition comes from: only a file on this host's disk may name a program to run. */
export type Origin = ({ readonly type: 'api' } | { readonly type: 'file'; readonly path: string }) & {
  /** Looks a user name up on this host, null when there is none. Without it names are left to the caller. */
  readonly uidOfUser?: (user: string) => number | null;
};

/** Faster checks would cost more than they tell. */
export const minIntervalMs = 100;
/** Consul's default timeouts. */
export const defaultTimeoutMs = 10_000;
export const defaultScriptTimeoutMs = 30_000;
/** Consul knows no bound; a run that may take longer than this says nothing about health. */
export const maxTimeoutMs = 10 * 60_000;
/** Results in a row that a threshold may ask for. */
const maxThreshold = 1000;
const maxArguments = 64;
const maxHeaders = 64;

/** An id of a service or check: it is part of paths and record keys. */
export const idPattern = /^[\x21-\x7e]{1,200}$/;
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is there to refuse
const headerValue = /^[^\x00-\x08\x0a-\x1f\x7f]{0,4096}$/;
const methodPattern = /^[A-Z]{1,32}$/;

/** What a check is called when its definition does not say. */
export interface CheckDefaults {
  readonly id: string;
  readonly name: string;
}

/** Parses one check. `Fault` with the field's path; see `Fields` for the codes, `script-refused` besides. */
export function parseCheck(
  input: unknown,
  path: string,
  origin: Origin,
  defaults: CheckDefaults,
): CheckDefinition {
  const fields = new Fields(input, path);
  const check = readCheck(fields, origin, defaults);
  fields.end();
  return check;
}

/**
 * Parses a check that is registered by itself (`agent/check/register`), of a service that is registered
 * already or, with `serviceId` '', of the host.
 */
export function parseCheckRegistration(input: unknown, origin: Origin): StandaloneCheck {
  const fields = new Fields(input, '');
  const serviceId = fields.string('ServiceID', '', 200);
  if (serviceId !== '' && !idPattern.test(serviceId))
    throw fields.fault('invalid-field', 'ServiceID', 'must be printable ASCII without spaces');
  const name = fields.required('Name', /^[^\p{Cc}]+$/u, 'a name without control characters');
  const check = readCheck(fields, origin, { id: name.replaceAll(/[^\x21-\x7e]/g, '-'), name });
  for (const scope of ['Namespace', 'Partition'])
    fields.unsupported(scope, 'there are no namespaces or partitions but "default"', ['default']);
  fields.unsupported('Token', 'Starling has no ACL tokens of Consul: the kernel says who calls');
  fields.end();
  return { serviceId, check };
}

function readCheck(fields: Fields, origin: Origin, defaults: CheckDefaults): CheckDefinition {
  refuseUnsupported(fields);
  const type = typeOf(fields);
  if (type === 'script' && origin.type !== 'file')
    throw fields.fault(
      'script-refused',
      fields.has('ScriptArgs') ? 'ScriptArgs' : 'Args',
      'a check that runs a program comes only from a file on this host, never through the API',
    );
  const { successBeforePassing, failuresBeforeWarning, failuresBeforeCritical } = thresholds(fields, type);
  return {
    id: identifier(fields, defaults.id),
    name: fields.string('Name', '', 256) || defaults.name,
    notes: fields.string('Notes', '', 4096),
    type,
    target: target(fields, type),
    ...request(fields, type),
    args: argumentsOf(fields),
    ...timing(fields, type),
    successBeforePassing,
    failuresBeforeCritical,
    failuresBeforeWarning,
    deregisterCriticalAfterMs: fields.duration('DeregisterCriticalServiceAfter'),
    initialStatus: fields.word<CheckStatus>('Status', ['passing', 'warning', 'critical'], 'critical'),
  };
}

function refuseUnsupported(fields: Fields): void {
  const kinds: readonly (readonly [string, string])[] = [
    ['UDP', 'UDP checks are not supported; use http, tcp, grpc, ttl or args'],
    ['H2PING', 'HTTP/2 ping checks are not supported; use http or tcp'],
    ['DockerContainerID', 'Docker checks are not supported; use args in a file, with docker exec'],
    ['Script', 'was replaced by args, a list: a program and its arguments, run without a shell'],
    ['Shell', 'no shell is used; name one in args if it is needed'],
    ['AliasService', 'alias checks are not supported'],
    ['AliasNode', 'alias checks are not supported'],
    ['OSService', 'OS service checks are not supported; use args in a file, with systemctl is-active'],
    ['TLSServerName', 'the server name is always that of the URL'],
    ['TCPUseTLS', 'TCP checks connect without TLS; use an https URL'],
    ['H2PingUseTLS', 'HTTP/2 ping checks are not supported'],
    ['DisableRedirects', 'redirects are followed on the same host, up to ten'],
    ['ProxyHTTP', 'checks are not sent through a proxy'],
    ['ProxyGRPC', 'checks are not sent through a proxy'],
    ['ExposedPort', 'checks are not sent through a proxy'],
  ];
  for (const [name, why] of kinds) fields.unsupported(name, why);
  fields.unsupported('OutputMaxSize', 'output is always cut to 4096 bytes', [4096]);
}

/** Exactly one of the fields that say what to do decides the type. */
function typeOf(fields: Fields): CheckType {
  const asked: (readonly [string, CheckType])[] = [];
  if (fields.string('HTTP', '') !== '') asked.push(['HTTP', 'http']);
  if (fields.string('TCP', '') !== '') asked.push(['TCP', 'tcp']);
  if (fields.string('GRPC', '') !== '') asked.push(['GRPC', 'grpc']);
  for (const name of ['Args', 'ScriptArgs'])
    if (fields.strings(name, maxArguments, 4096).length > 0) asked.push([name, 'script']);
  if (fields.string('TTL', '') !== '') asked.push(['TTL', 'ttl']);
  const [first, second] = asked;
  if (first === undefined) throw fields.missing('HTTP', 'a check needs one of http, tcp, grpc, args or ttl');
  if (second !== undefined)
    throw fields.fault(
      'conflicting-fields',
      second[0],
      `a check does one thing, and this one has ${fields.at(first[0])} already`,
    );
  return first[1];
}

function identifier(fields: Fields, otherwise: string): string {
  const name = fields.has('CheckID') ? 'CheckID' : 'ID';
  if (fields.has('ID') && fields.has('CheckID') && fields.value('ID') !== fields.value('CheckID'))
    throw fields.fault('conflicting-fields', 'CheckID', `is not the same as ${fields.at('ID')}`);
  const id = fields.string(name, '', 200) || otherwise;
  if (!idPattern.test(id))
    throw fields.fault('invalid-field', name, 'must be 1 to 200 printable ASCII characters without spaces');
  return id;
}

function target(fields: Fields, type: CheckType): string {
  if (type === 'http') {
    const text = fields.string('HTTP', '');
    const url = URL.parse(text);
    if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
      throw fields.fault('invalid-field', 'HTTP', `"${text}" is not an http or https URL`);
    return text;
  }
  if (type === 'grpc') return grpcTarget(fields);
  if (type !== 'tcp') return '';
  const text = fields.string('TCP', '');
  const port = Number(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(text)?.[1] ?? 0);
  if (port < 1 || port > 65535) throw fields.fault('invalid-field', 'TCP', `"${text}" is not host:port`);
  return text;
}

/** `host:port[/service]`, as Consul's. */
function grpcTarget(fields: Fields): string {
  const text = fields.string('GRPC', '', 512);
  const port = Number(
    /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]@?#]+):(\d{1,5})(?:\/[\w.-]{0,200})?$/.exec(text)?.[1] ?? 0,
  );
  if (port < 1 || port > 65535)
    throw fields.fault('invalid-field', 'GRPC', `"${text}" is not host:port or host:port/service`);
  return fields.boolean('GRPCUseTLS', false) ? `https://${text}` : text;
}

/** What an HTTP check sends, and whom it and a gRPC check believe. */
function request(
  fields: Fields,
  type: CheckType,
): Pick<CheckDefinition, 'method' | 'header' | 'body' | 'tlsSkipVerify'> {
  const method = fields.string('Method', '').toUpperCase();
  const body = fields.string('Body', '', 8192);
  const header = headers(fields);
  const tlsSkipVerify = fields.boolean('TLSSkipVerify', false);
  if (type !== 'grpc' && fields.boolean('GRPCUseTLS', false))
    throw fields.fault('conflicting-fields', 'GRPCUseTLS', 'applies to grpc checks only');
  if (tlsSkipVerify && type !== 'http' && type !== 'grpc')
    throw fields.fault('conflicting-fields', 'TLSSkipVerify', 'applies to http and grpc checks only');
  if (type !== 'http') {
    for (const name of ['Method', 'Body', 'Header'])
      if (!(fields.value(name) === undefined) && !isHarmless(fields.value(name)))
        throw fields.fault('conflicting-fields', name, 'applies to http checks only');
    return { method: '', header: {}, body: '', tlsSkipVerify };
  }
  if (method !== '' && !methodPattern.test(method))
    throw fields.fault('invalid-field', 'Method', `"${method}" is not an HTTP method`);
  return { method: method || 'GET', header, body, tlsSkipVerify };
}

function isHarmless(value: unknown): boolean {
  return value === '' || value === false || (typeof value === 'object' && Object.keys(value!).length === 0);
}

function headers(fields: Fields): { [name: string]: readonly string[] } {
  const pairs = fields.pairs('Header', maxHeaders).map(({ key, value, path }): [string, string[]] => {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!headerName.test(key)) throw blame('Header', fields, path, `"${key}" is not a header name`);
    if (values.length > 16) throw blame('Header', fields, path, 'has more than 16 values');
    return [
      key,
      values.map((one) => {
        if (typeof one !== 'string' || !headerValue.test(one))
          throw blame('Header', fields, path, 'must be a list of header values');
        return one;
      }),
    ];
  });
  return Object.fromEntries(pairs);
}

function blame(name: string, fields: Fields, path: string, message: string): Fault {
  const key = path.slice(fields.at(name).length + 1);
  return fields.fault('invalid-field', name, `${key}: ${message}`);
}

function argumentsOf(fields: Fields): readonly string[] {
  for (const name of ['Args', 'ScriptArgs']) {
    const args = fields.strings(name, maxArguments, 4096);
    if (args.length === 0) continue;
    if (args[0] === '') throw fields.fault('invalid-field', name, 'the first entry, the program, is empty');
    if (args.some((one) => one.includes('\0')))
      throw fields.fault('invalid-field', name, 'an argument contains a NUL character');
    return args;
  }
  return [];
}

function timing(
  fields: Fields,
  type: CheckType,
): Pick<CheckDefinition, 'intervalMs' | 'timeoutMs' | 'ttlMs'> {
  const intervalMs = fields.duration('Interval');
  const timeoutMs = fields.duration('Timeout');
  const ttlMs = fields.duration('TTL');
  if (type === 'ttl') {
    if (intervalMs > 0)
      throw fields.fault('conflicting-fields', 'Interval', 'a ttl check is reported, not run at an interval');
    if (timeoutMs > 0)
      throw fields.fault(
        'conflicting-fields',
        'Timeout',
        'a ttl check is reported, not run: nothing to time out',
      );
    if (ttlMs < minIntervalMs)
      throw fields.fault('invalid-field', 'TTL', `is shorter than ${minIntervalMs} ms`);
    return { intervalMs: 0, timeoutMs: 0, ttlMs };
  }
  if (intervalMs === 0) throw fields.missing('Interval', `is required for a ${type} check`);
  if (intervalMs < minIntervalMs)
    throw fields.fault('invalid-field', 'Interval', `is shorter than ${minIntervalMs} ms`);
  if (timeoutMs > maxTimeoutMs)
    throw fields.fault('invalid-field', 'Timeout', `is longer than ${goDuration(maxTimeoutMs)}`);
  const otherwise = type === 'script' ? defaultScriptTimeoutMs : defaultTimeoutMs;
  return { intervalMs, timeoutMs: timeoutMs === 0 ? otherwise : timeoutMs, ttlMs: 0 };
}

/** How many results in a row change the status; warnings come after as many failures unless said. */
function thresholds(
  fields: Fields,
  type: CheckType,
): Pick<CheckDefinition, 'successBeforePassing' | 'failuresBeforeWarning' | 'failuresBeforeCritical'> {
  const successBeforePassing = fields.integer('SuccessBeforePassing', 0, 0, maxThreshold);
  const failuresBeforeCritical = fields.integer('FailuresBeforeCritical', 0, 0, maxThreshold);
  const failuresBeforeWarning = fields.integer('FailuresBeforeWarning', 0, 0, maxThreshold);
  if (type === 'ttl')
    for (const name of ['SuccessBeforePassing', 'FailuresBeforeCritical', 'FailuresBeforeWarning'])
      if (fields.integer(name, 0, 0, maxThreshold) > 0)
        throw fields.fault('conflicting-fields', name, 'a ttl check takes on each status as it is reported');
  if (failuresBeforeWarning > failuresBeforeCritical)
    throw fields.fault(
      'conflicting-fields',
      'FailuresBeforeWarning',
      `is more than ${fields.at('FailuresBeforeCritical')}, so it would never count`,
    );
  return {
    successBeforePassing,
    failuresBeforeCritical,
    failuresBeforeWarning: failuresBeforeWarning === 0 ? failuresBeforeCritical : failuresBeforeWarning,
  };
}

function grpcToConsul(target: string): { [field: string]: unknown } {
  const isTls = target.startsWith('https://');
  return { GRPC: isTls ? target.slice('https://'.length) : target, ...(isTls ? { GRPCUseTLS: true } : {}) };
}

/** A check as `parseCheck` reads it, without what is at its default. */
export function checkToConsul(check: CheckDefinition): { [field: string]: unknown } {
  const { type } = check;
  return {
    CheckID: check.id,
    Name: check.name,
    ...(check.notes === '' ? {} : { Notes: check.notes }),
    ...(type === 'http' ? { HTTP: check.target, Method: check.method } : {}),
    ...(Object.keys(check.header).length === 0 ? {} : { Header: check.header }),
    ...(check.body === '' ? {} : { Body: check.body }),
    ...(check.tlsSkipVerify ? { TLSSkipVerify: true } : {}),
    ...(type === 'tcp' ? { TCP: check.target } : {}),
    ...(type === 'grpc' ? grpcToConsul(check.target) : {}),
    ...(type === 'script' ? { Args: check.args } : {}),
    ...(type === 'ttl'
      ? { TTL: goDuration(check.ttlMs) }
      : { Interval: goDuration(check.intervalMs), Timeout: goDuration(check.timeoutMs) }),
    ...(check.successBeforePassing === 0 ? {} : { SuccessBeforePassing: check.successBeforePassing }),
    ...(check.failuresBeforeWarning === 0 ? {} : { FailuresBeforeWarning: check.failuresBeforeWarning }),
    ...(check.failuresBeforeCritical === 0 ? {} : { FailuresBeforeCritical: check.failuresBeforeCritical }),
    ...(check.deregisterCriticalAfterMs === 0
      ? {}
      : { DeregisterCriticalServiceAfter: goDuration(check.deregisterCriticalAfterMs) }),
    Status: check.initialStatus,
  };
}
