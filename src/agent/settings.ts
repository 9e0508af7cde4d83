/**
 * How an agent is told what to be: flags over environment over config file over defaults, checked in one
 * place. Pure; where the strings come from is the shell's business.
 */
import { Fault, ipVersion } from '../core.ts';
import { type JoinToken, parseToken } from '../trust/admission/token.ts';
import {
  founderPolicy,
  highAssurancePolicy,
  standardPolicy,
  type TrusteePolicy,
} from '../trust/epoch/policy.ts';
import { maxTtlMs } from '../trust/issuance/leaf-rules.ts';
import { maxRootLifetimeMs, minRootLifetimeMs } from '../trust/quorum/root-request.ts';
import { parseVipRange, type VipRange } from './catalog/vips.ts';
import { parseDurationBetween } from './consul/duration.ts';
import { serviceNamePattern } from './kinds.ts';

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** `address` and `port`, or the path of a unix socket. */
export type HttpAddress = SocketAddress | { readonly path: string };

export type ProxyMode = 'embedded' | 'none';

/** More threads than a host of this size has cores only take turns. */
export const maxProxyWorkers = 64;

export interface AgentSettings {
  readonly dataDir: string;
  /** Made for this run alone: whoever runs the agent removes it afterwards. */
  readonly isDataDirTemporary: boolean;
  readonly name: string;
  readonly datacenter: string;
  readonly zone: string;
  readonly bind: string;
  readonly advertise: string;
  readonly gossipPort: number;
  readonly inboundPort: number;
  readonly outbound: SocketAddress | null;
  readonly http: HttpAddress;
  readonly dns: SocketAddress | null;
  readonly domain: string;
  readonly vipRange: VipRange;
  readonly bootstrap: boolean;
  readonly join: readonly SocketAddress[];
  readonly token: JoinToken | null;
  readonly services: string | null;
  readonly proxy: ProxyMode;
  /** Threads that carry traffic; 0 leaves it to the agent's own. */
  readonly proxyWorkers: number;
  readonly defaultIntention: 'allow' | 'deny';
  readonly dev: boolean;
  readonly svidTtlMs: number;
  readonly rootTtlMs: number;
  /** How many trustees share the root. */
  readonly trustees: TrusteePolicy;
  readonly logFormat: 'json' | 'text';
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** One option as its source spelled it: a string, a list of strings, or a switch. */
export type RawOption = string | number | boolean | readonly (string | number)[];
export type RawOptions = { readonly [name: string]: RawOption | undefined };

/** What the machine says about itself, for defaults. */
export interface MachineFacts {
  readonly hostName: string;
  readonly isRoot: boolean;
  /** The default route's address; null when there is none. */
  readonly routeAddress: string | null;
  /** A fresh temporary directory, made only when asked. */
  temporaryDirectory(): string;
  /** Contents of a file, for `--token-file`. */
  readText(path: string): string;
}

/** Every option name, with whether it may be repeated or is a switch. */
export const optionNames: { readonly [name: string]: 'value' | 'list' | 'switch' } = {
  'data-dir': 'value',
  name: 'value',
  datacenter: 'value',
  zone: 'value',
  bind: 'value',
  advertise: 'value',
  'gossip-port': 'value',
  'inbound-port': 'value',
  outbound: 'value',
  http: 'value',
  dns: 'value',
  domain: 'value',
  'vip-range': 'value',
  bootstrap: 'switch',
  join: 'list',
  token: 'value',
  'token-file': 'value',
  services: 'value',
  proxy: 'value',
  'proxy-workers': 'value',
  'default-intention': 'value',
  dev: 'switch',
  'svid-ttl': 'value',
  'root-ttl': 'value',
  trustees: 'value',
  'trustee-settle': 'value',
  'trustee-absence': 'value',
  'log-format': 'value',
  'log-level': 'value',
};

/** The words that the values of some options may be. */
export const optionChoices = {
  proxy: ['embedded', 'none'],
  'default-intention': ['allow', 'deny'],
  'log-format': ['json', 'text'],
  'log-level': ['debug', 'info', 'warn', 'error'],
} as const satisfies { readonly [name: string]: readonly string[] };

/** The environment variable of an option: `--gossip-port` is `STARLING_GOSSIP_PORT`. */
export function environmentName(option: string): string {
  return `STARLING_${option.toUpperCase().replaceAll('-', '_')}`;
}

/** Picks this agent's options out of the environment. Lists are comma-separated. */
export function optionsFromEnvironment(environment: {
  readonly [name: string]: string | undefined;
}): RawOptions {
  const found: { [name: string]: RawOption } = {};
  for (const [option, shape] of Object.entries(optionNames)) {
    const value = environment[environmentName(option)];
    if (value === undefined) continue;
    if (shape === 'list') found[option] = value.split(',').map((item) => item.trim());
    else if (shape === 'switch') found[option] = switchOf(option, value);
    else found[option] = value;
  }
  return found;
}

/** Checks the shape of a config file's contents; snake_case and dashes both name an option. */
export function optionsFromFile(contents: unknown, path: string): RawOptions {
  if (typeof contents !== 'object' || contents === null || Array.isArray(contents))
    throw new Fault('bad-config', `${path}: expected an object of options`, { field: path });
  const found: { [name: string]: RawOption } = {};
  for (const [key, value] of Object.entries(contents)) {
    const option = key.replaceAll('_', '-');
    const shape = Object.hasOwn(optionNames, option) ? optionNames[option] : undefined;
    if (shape === undefined)
      throw new Fault('bad-config', `${path}: unknown option "${key}"`, { field: key });
    if (shape === 'switch' && typeof value !== 'boolean')
      throw new Fault('bad-config', `${path}: "${key}" must be true or false`, { field: key });
    if (shape === 'value' && typeof value !== 'string' && typeof value !== 'number')
      throw new Fault('bad-config', `${path}: "${key}" must be text or a number`, { field: key });
    if (shape === 'list' && typeof value !== 'string' && !isTextList(value))
      throw new Fault('bad-config', `${path}: "${key}" must be a list of text`, { field: key });
    found[option] = shape === 'list' && typeof value === 'string' ? [value] : (value as RawOption);
  }
  return found;
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function switchOf(option: string, text: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off|)$/i.test(text)) return false;
  throw new Fault('bad-option', `--${option}: "${text}" is neither true nor false`, { field: option });
}

/** Merges the sources (first one wins) and checks everything. Throws `Fault` naming the option. */
export function agentSettings(sources: readonly RawOptions[], machine: MachineFacts): AgentSettings {
  const reader = new OptionReader(sources);
  const dev = reader.flag('dev');
  const bind = reader.ip('bind', dev ? '127.0.0.1' : '0.0.0.0');
  const bootstrap = reader.flag('bootstrap') || dev;
  const join = reader.list('join').map(joinAddress);
  if (bootstrap && join.length > 0)
    throw new Fault('bad-option', 'choose one: --bootstrap starts a new mesh, --join enters one', {
      field: 'join',
    });
  const intention = reader.text('default-intention');
  if (intention !== null && !bootstrap)
    throw new Fault(
      'bad-option',
      '--default-intention is fixed when a mesh is made: use it with --bootstrap',
      {
        field: 'default-intention',
      },
    );
  const dataDir = reader.text('data-dir');
  return {
    name: reader.label('name', machine.hostName.split('.')[0]!.toLowerCase()),
    datacenter: reader.label('datacenter', 'dc1'),
    zone: reader.zone(),
    bind,
    advertise: advertised(reader, bind, machine),
    gossipPort: reader.port('gossip-port', 7946),
    inboundPort: reader.port('inbound-port', 21000),
    outbound: reader.socket('outbound', '127.0.0.1:15001'),
    http: httpAddress(reader.text('http') ?? '127.0.0.1:8500'),
    dns: reader.socket('dns', '127.0.0.1:8600'),
    domain: reader.domain(),
    vipRange: parseVipRange(reader.text('vip-range') ?? '127.64.0.0/16'),
    bootstrap,
    join,
    token: joinToken(reader, machine),
    services: reader.text('services'),
    proxy: proxyMode(reader.text('proxy') ?? 'embedded'),
    proxyWorkers: reader.whole('proxy-workers', 1, 0, maxProxyWorkers),
    defaultIntention: reader.choice('default-intention', optionChoices['default-intention'], 'deny'),
    dev,
    svidTtlMs: reader.duration('svid-ttl', 12 * 3_600_000, 10_000, maxTtlMs),
    rootTtlMs: reader.duration('root-ttl', 90 * 24 * 3_600_000, minRootLifetimeMs, maxRootLifetimeMs),
    trustees: trusteePolicy(reader),
    logFormat: reader.choice('log-format', optionChoices['log-format'], 'text'),
    logLevel: reader.choice('log-level', optionChoices['log-level'], 'info'),
    isDataDirTemporary: dataDir === null && dev,
    // Last, so that no temporary directory is made for options that are refused.
    dataDir: dataDir ?? defaultDataDir(dev, machine),
  };
}

const profiles = {
  standard: standardPolicy,
  'high-assurance': highAssurancePolicy,
  founder: founderPolicy,
} as const;
const profileNames = ['standard', 'high-assurance', 'founder'] as const;

function trusteePolicy(reader: OptionReader): TrusteePolicy {
  const profile = profiles[reader.choice('trustees', profileNames, 'standard')];
  const longest = 7 * 24 * 3_600_000;
  return {
    ...profile,
    settleMs: reader.duration('trustee-settle', profile.settleMs, 1000, longest),
    replaceAfterMs: reader.duration('trustee-absence', profile.replaceAfterMs, 1000, longest),
  };
}

function defaultDataDir(dev: boolean, machine: MachineFacts): string {
  if (dev) return machine.temporaryDirectory();
  return machine.isRoot ? '/var/lib/starling' : './starling-data';
}

function advertised(reader: OptionReader, bind: string, machine: MachineFacts): string {
  const wildcard = bind === '0.0.0.0' || bind === '::';
  const address = reader.ip('advertise', wildcard ? (machine.routeAddress ?? '') : bind);
  if (address === '' || address === '0.0.0.0' || address === '::')
    throw new Fault(
      'bad-option',
      '--advertise: this machine has no default route; say which address others reach',
      {
        field: 'advertise',
      },
    );
  return address;
}

/** The two spellings are one option: the first source that has either wins. */
function joinToken(reader: OptionReader, machine: MachineFacts): JoinToken | null {
  const source = reader.firstWith('token', 'token-file');
  const inline = source.text('token');
  const file = source.text('token-file');
  if (inline !== null && file !== null)
    throw new Fault('bad-option', 'choose one: --token or --token-file', { field: 'token-file' });
  const text = file === null ? inline : machine.readText(file);
  if (text === null) return null;
  try {
    return parseToken(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const option = file === null ? 'token' : 'token-file';
    throw new Fault('bad-option', `--${option}: ${error.message}`, { field: option });
  }
}

function joinAddress(text: string): SocketAddress {
  const where = socketAddress('join', text, 7946);
  if (where.port === 0)
    throw new Fault('bad-option', `--join: "${text}" has no port to reach`, { field: 'join' });
  return where;
}

function proxyMode(text: string): ProxyMode {
  if (text === 'embedded' || text === 'none') return text;
  if (text === 'haproxy' || text === 'envoy')
    throw new Fault('unsupported', `--proxy ${text}: this version has the embedded proxy only`, {
      field: 'proxy',
    });
  throw new Fault('bad-option', `--proxy: "${text}" is not one of embedded, none`, { field: 'proxy' });
}

/** `ADDR:PORT`, `[V6]:PORT`, or with `defaultPort` just `ADDR`; the address is an IP or a host name. */
export function socketAddress(
  option: string,
  text: string,
  defaultPort: number | null = null,
): SocketAddress {
  const match = /^(?:\[([^\]]+)\]|([0-9A-Za-z._-]+))(?::(\d{1,5}))?$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  const isBadV6 = match?.[1] !== undefined && ipVersion(match[1]) !== 6;
  if (address === undefined || isBadV6 || port === null || port > 65535)
    throw new Fault('bad-option', `--${option}: "${text}" is not ADDRESS:PORT`, { field: option });
  return { address, port };
}

/** `ADDR:PORT` or `unix:PATH`. */
export function httpAddress(text: string): HttpAddress {
  if (text === 'unix:')
    throw new Fault('bad-option', '--http: "unix:" needs the path of the socket', { field: 'http' });
  return text.startsWith('unix:') ? { path: text.slice(5) } : socketAddress('http', text);
}

class OptionReader {
  private readonly sources: readonly RawOptions[];
  constructor(sources: readonly RawOptions[]) {
    this.sources = sources;
  }
  private raw(option: string): RawOption | undefined {
    for (const source of this.sources) if (source[option] !== undefined) return source[option];
    return undefined;
  }
  /** The first source alone that has any of these options. */
  firstWith(...options: readonly string[]): OptionReader {
    const source = this.sources.find((one) => options.some((option) => one[option] !== undefined));
    return new OptionReader(source === undefined ? [] : [source]);
  }
  text(option: string): string | null {
    const value = this.raw(option);
    if (value === undefined) return null;
    const text = String(value);
    if (text === '') throw new Fault('bad-option', `--${option} is empty`, { field: option });
    return text;
  }
  flag(option: string): boolean {
    return this.raw(option) === true;
  }
  list(option: string): readonly string[] {
    const value = this.raw(option);
    return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)];
  }
  whole(option: string, otherwise: number, least: number, most: number): number {
    const text = this.text(option);
    if (text === null) return otherwise;
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most))
      throw new Fault('bad-option', `--${option}: "${text}" is not a whole number from ${least} to ${most}`, {
        field: option,
      });
    return value;
  }

  choice<T extends string>(option: string, choices: readonly T[], otherwise: T): T {
    const text = this.text(option) ?? otherwise;
    const found = choices.find((choice) => choice === text);
    if (found === undefined)
      throw new Fault('bad-option', `--${option}: "${text}" is not one of ${choices.join(', ')}`, {
        field: option,
      });
    return found;
  }
  label(option: string, otherwise: string): string {
    const text = this.text(option) ?? otherwise;
    if (!serviceNamePattern.test(text))
      throw new Fault('bad-option', `--${option}: "${text}" is not a DNS label (a-z, 0-9, -; at most 63)`, {
        field: option,
      });
    return text;
  }
  zone(): string {
    const value = this.raw('zone');
    return value === undefined || value === '' ? '' : this.label('zone', '');
  }
  domain(): string {
    const text = (this.text('domain') ?? 'mesh').replace(/\.$/, '').toLowerCase();
    if (text.length > 200 || !text.split('.').every((label) => serviceNamePattern.test(label)))
      throw new Fault('bad-option', `--domain: "${text}" is not a domain name`, { field: 'domain' });
    return text;
  }
  ip(option: string, otherwise: string): string {
    const text = this.text(option);
    if (text === null) return otherwise;
    if (ipVersion(text) === 0)
      throw new Fault('bad-option', `--${option}: "${text}" is not an IP address`, { field: option });
    return text;
  }
  port(option: string, otherwise: number): number {
    const text = this.text(option);
    if (text === null) return otherwise;
    const port = Number(text);
    if (!/^\d+$/.test(text) || port < 1 || port > 65535)
      throw new Fault('bad-option', `--${option}: "${text}" is not a port (1 to 65535)`, { field: option });
    return port;
  }
  /** `none` switches it off. */
  socket(option: string, otherwise: string): SocketAddress | null {
    const text = this.text(option) ?? otherwise;
    return text === 'none' ? null : socketAddress(option, text);
  }
  duration(option: string, otherwise: number, least: number, most: number): number {
    const text = this.text(option);
    if (text === null) return otherwise;
    try {
      return parseDurationBetween(text, `--${option}`, least, most);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new Fault('bad-option', error.message, { field: option });
    }
  }
}
