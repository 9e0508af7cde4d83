/**
 * What the mesh answers to a DNS question, in the names that Consul's clients know, below one zone (`mesh`):
 *
 * `svc`, `svc.service`           this host's loopback address for the service; SRV names the instances
 * `[tag.]svc.service[.dc]`       instances that are not critical, with a tag, a datacenter, or by SRV; so
 *                                too without either where no loopback address stands for the service
 * `_svc._tcp|_tag[.service][.dc]`  the same, in the form of RFC 2782
 * `host.node[.dc]`, `<hex>.addr[.dc]`  addresses
 *
 * A name that only leads to others answers no data, never "no such name": resolvers that ask label by label
 * (RFC 9156) would stop there. Outside the zone the answer is a refusal.
 */
import { type Random, randomInt } from '../../core.ts';
import type { Catalog, ServiceEntry } from '../catalog/catalog.ts';

export type AddressRecord = {
  readonly name: string;
  readonly type: 'A' | 'AAAA';
  readonly ttl: number;
  readonly data: string;
};

export type DnsRecord =
  | AddressRecord
  | {
      readonly name: string;
      readonly type: 'SRV';
      readonly ttl: number;
      readonly data: {
        readonly priority: number;
        readonly weight: number;
        readonly port: number;
        readonly target: string;
      };
    }
  | { readonly name: string; readonly type: 'NS'; readonly ttl: number; readonly data: string }
  | {
      readonly name: string;
      readonly type: 'SOA';
      readonly ttl: number;
      readonly data: {
        readonly mname: string;
        readonly rname: string;
        readonly serial: number;
        readonly refresh: number;
        readonly retry: number;
        readonly expire: number;
        readonly minimum: number;
      };
    };

export interface DnsQuestion {
  /** As asked: the answer repeats its upper and lower case. Without the final dot. */
  readonly name: string;
  /** `A`, `SRV`, `ANY` and so on. */
  readonly type: string;
  readonly class: string;
}

export type ResponseCode = 'NOERROR' | 'NXDOMAIN' | 'REFUSED';

export interface DnsAnswer {
  readonly code: ResponseCode;
  readonly authoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

export interface DnsView {
  readonly catalog: Catalog;
  /** Zone without dots at its ends, lower case. */
  readonly domain: string;
  /** This host's own; names without a datacenter mean it. */
  readonly datacenter: string;
  /** This host's own, '' where it has none: instances of the same zone come first. */
  readonly zone: string;
  /** Every datacenter that a host says it is in. */
  readonly datacenters: ReadonlySet<string>;
  /** Where this DNS server is reached; null when it listens on every address. */
  readonly serverAddress: string | null;
  /** The loopback address this host hands out for a service; null when it has none. */
  readonly vipOf: (service: string) => string | null;
}

/** Seconds. Answers change within a second of the mesh, so nobody is to keep them. */
export const answerTtlSeconds = 0;
/** Loopback addresses are derived from names: they hold as long as the service does. */
export const vipTtlSeconds = 5;
/** HAProxy divides SRV weights by 256 and turns 0 into the least, so that weights survive only when multiplied. */
const srvWeightFactor = 256;
const maxSrvWeight = 65535;

const kinds: ReadonlySet<string> = new Set(['service', 'node', 'addr']);
const protocols: ReadonlySet<string> = new Set(['_tcp', '_udp']);

const refused: DnsAnswer = {
  code: 'REFUSED',
  authoritative: false,
  answers: [],
  authorities: [],
  additionals: [],
};

/**
 * Answers one question. Instances of this host's zone come before all others, and within both `random` orders them, so
 * that clients that take the first spread out.
 */
export function answer(question: DnsQuestion, view: DnsView, random: Random): DnsAnswer {
  const name = question.name.toLowerCase();
  const inZone = name === view.domain || name.endsWith(`.${view.domain}`);
  if (!inZone || (question.class !== 'IN' && question.class !== 'ANY')) return refused;
  const labels = name === view.domain ? [] : name.slice(0, -view.domain.length - 1).split('.');
  const found = new Resolver(question, view, random).resolve(labels);
  if (found === null) return { ...noData(view), code: 'NXDOMAIN' };
  if (found.answers.length === 0) return noData(view);
  return { code: 'NOERROR', authoritative: true, authorities: [], ...found };
}

interface Found {
  readonly answers: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
}

const nothingHere: Found = { answers: [], additionals: [] };

function noData(view: DnsView): DnsAnswer {
  return {
    code: 'NOERROR',
    authoritative: true,
    answers: [],
    authorities: [startOfAuthority(view)],
    additionals: [],
  };
}

function startOfAuthority(view: DnsView): DnsRecord {
  return {
    name: view.domain,
    type: 'SOA',
    ttl: answerTtlSeconds,
    data: {
      mname: `ns.${view.domain}`,
      rname: `hostmaster.${view.domain}`,
      // Grows with the catalog; serial arithmetic wraps at 32 bits (RFC 1982).
      serial: view.catalog.index % 2 ** 32,
      refresh: 3600,
      retry: 600,
      expire: 86400,
      minimum: answerTtlSeconds,
    },
  };
}

/** `<hex>` of an address, as in `7f000001.addr.dc1.mesh`. */
export function hexOfAddress(address: string): string | null {
  if (!address.includes(':')) {
    const octets = address.split('.').map(Number);
    if (octets.length !== 4 || !octets.every((octet) => Number.isInteger(octet) && octet >= 0 && octet < 256))
      return null;
    return octets.map((octet) => octet.toString(16).padStart(2, '0')).join('');
  }
  const [head = '', tail, more] = address.split('::');
  if (more !== undefined) return null;
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0');
  const words = [...front, ...zeros, ...back];
  if (
    words.length !== 8 ||
    (tail === undefined && front.length !== 8) ||
    !words.every((word) => /^[0-9a-f]{1,4}$/i.test(word))
  )
    return null;
  return words.map((word) => word.toLowerCase().padStart(4, '0')).join('');
}

function addressOfHex(hex: string): string | null {
  if (/^[0-9a-f]{8}$/.test(hex))
    return hex
      .match(/../g)!
      .map((octet) => Number.parseInt(octet, 16))
      .join('.');
  if (/^[0-9a-f]{32}$/.test(hex))
    return hex
      .match(/..../g)!
      .map((word) => word.replace(/^0{1,3}/, ''))
      .join(':');
  return null;
}

const hostNamePattern = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/i;

/** An address record, or null for what is not an address: a host name in a definition has none to offer. */
function addressRecord(name: string, address: string, ttl: number): AddressRecord | null {
  if (hexOfAddress(address) === null) return null;
  return { name, type: address.includes(':') ? 'AAAA' : 'A', ttl, data: address };
}

/** One question on its way through the names of the zone. Null means there is no such name. */
class Resolver {
  private readonly question: DnsQuestion;
  private readonly view: DnsView;
  private readonly random: Random;

  constructor(question: DnsQuestion, view: DnsView, random: Random) {
    this.question = question;
    this.view = view;
    this.random = random;
  }

  resolve(labels: readonly string[]): Found | null {
    if (labels.length === 0) return this.apex();
    if (labels.length === 1) return this.single(labels[0]!);
    const { rest, datacenter } = this.withoutDatacenter(labels);
    const last = rest.at(-1)!;
    if (rest.length === 1 && (kinds.has(last) || protocols.has(last))) return nothingHere;
    if (last === 'node') return this.host(rest.slice(0, -1).join('.'), datacenter);
    if (last === 'addr') return rest.length === 2 ? this.hexAddress(rest[0]!) : null;
    if (last === 'service') {
      const vip = labels.length === 2 ? this.view.vipOf(labels[0]!) : null;
      if (vip !== null && this.question.type !== 'SRV') return this.addresses([vip], vipTtlSeconds);
      return this.service(rest.slice(0, -1), datacenter);
    }
    return last.startsWith('_') ? this.service(rest, datacenter) : null;
  }

  private apex(): Found {
    const { domain, serverAddress } = this.view;
    if (this.asks('SOA')) return { answers: [startOfAuthority(this.view)], additionals: [] };
    if (this.question.type !== 'NS') return nothingHere;
    const target = `ns.${domain}`;
    const glue = serverAddress === null ? null : addressRecord(target, serverAddress, answerTtlSeconds);
    return {
      answers: [{ name: this.question.name, type: 'NS', ttl: answerTtlSeconds, data: target }],
      additionals: glue === null ? [] : [glue],
    };
  }

  /** `svc.mesh`, or a name that others are below. */
  private single(label: string): Found | null {
    const vip = this.view.vipOf(label);
    const instances = this.question.type === 'SRV' ? this.service([label], this.view.datacenter) : null;
    if (instances !== null) return instances;
    if (vip !== null) return this.addresses([vip], vipTtlSeconds);
    if (label === 'ns')
      return this.addresses(this.view.serverAddress === null ? [] : [this.view.serverAddress]);
    const leadsOn = kinds.has(label) || protocols.has(label) || this.view.datacenters.has(label);
    if (leadsOn || this.view.catalog.instances(label).length > 0) return nothingHere;
    return null;
  }

  /** Cuts a datacenter off the end of the name. */
  private withoutDatacenter(labels: readonly string[]): { rest: readonly string[]; datacenter: string } {
    const last = labels.at(-1)!;
    const before = labels.at(-2)!;
    const mayBe = kinds.has(before) || before.startsWith('_');
    if (mayBe && !kinds.has(last) && !last.startsWith('_'))
      return { rest: labels.slice(0, -1), datacenter: last };
    return { rest: labels, datacenter: this.view.datacenter };
  }

  private host(name: string, datacenter: string): Found | null {
    const host = this.view.catalog.hostNamed(name);
    if (host === undefined || host.value.datacenter !== datacenter) return null;
    return this.addresses([host.value.address]);
  }

  private hexAddress(hex: string): Found | null {
    const address = addressOfHex(hex);
    return address === null ? null : this.addresses([address]);
  }

  /** `[tag, svc]`, `[_svc, _tcp]`, `[_svc, _tag]`; `[_tcp]` leads to the names below it. */
  private service(labels: readonly string[], datacenter: string): Found | null {
    if (labels.length === 1 && protocols.has(labels[0]!)) return nothingHere;
    const inUnderscores = labels.length === 2 && labels.every((label) => label.startsWith('_'));
    const plain = inUnderscores ? [labels[1]!.slice(1), labels[0]!.slice(1)] : labels;
    const service = plain.at(-1)!;
    const tag = plain.slice(0, -1).join('.');
    const wanted = inUnderscores && protocols.has(`_${tag}`) ? '' : tag;
    const all = this.view.catalog
      .instances(service)
      .filter((entry) => entry.host.value.datacenter === datacenter);
    const tagged = all.filter((entry) => wanted === '' || hasTag(entry, wanted));
    if (tagged.length === 0) return null;
    const inRotation = tagged.filter((entry) => this.view.catalog.statusOf(entry) !== 'critical');
    const ordered = this.nearestZoneFirst(this.shuffle(inRotation));
    return this.question.type === 'SRV' ? this.srv(ordered) : this.addresses(ordered.map(addressOf));
  }

  private nearestZoneFirst(entries: readonly ServiceEntry[]): readonly ServiceEntry[] {
    const { zone } = this.view;
    if (zone === '') return entries;
    const isNear = ({ host }: ServiceEntry): boolean => host.value.zone === zone;
    return [...entries.filter(isNear), ...entries.filter((entry) => !isNear(entry))];
  }

  private shuffle(entries: ServiceEntry[]): ServiceEntry[] {
    for (let i = entries.length - 1; i > 0; i--) {
      const j = randomInt(this.random, i + 1);
      [entries[i], entries[j]] = [entries[j]!, entries[i]!];
    }
    return entries;
  }

  private srv(entries: readonly ServiceEntry[]): Found {
    const answers: DnsRecord[] = [];
    const additionals = new Map<string, DnsRecord>();
    for (const entry of entries) {
      if (entry.definition.port === 0) continue;
      const target = this.targetOf(entry);
      answers.push({
        name: this.question.name,
        type: 'SRV',
        ttl: answerTtlSeconds,
        data: { priority: 1, weight: this.srvWeight(entry), port: entry.definition.port, target },
      });
      const address = addressRecord(target, addressOf(entry), answerTtlSeconds);
      if (address !== null) additionals.set(target, address);
    }
    return { answers, additionals: [...additionals.values()] };
  }

  private srvWeight(entry: ServiceEntry): number {
    const { warning, passing } = entry.definition.weights;
    const weight = this.view.catalog.statusOf(entry) === 'warning' ? warning : passing;
    return Math.min(weight * srvWeightFactor, maxSrvWeight);
  }

  /** The host's name when the instance has no address of its own, else a name that spells the address. */
  private targetOf({ definition, host }: ServiceEntry): string {
    const { datacenter, name, address } = host.value;
    if (definition.address === '' || definition.address === address)
      return `${name}.node.${datacenter}.${this.view.domain}`;
    const hex = hexOfAddress(definition.address);
    if (hex !== null) return `${hex}.addr.${datacenter}.${this.view.domain}`;
    return hostNamePattern.test(definition.address)
      ? definition.address
      : `${name}.node.${datacenter}.${this.view.domain}`;
  }

  /** Address records of the type asked for, each address once. To ANY one type is answer enough (RFC 8482, section 4.1). */
  private addresses(addresses: readonly string[], ttl: number = answerTtlSeconds): Found {
    const records: AddressRecord[] = [];
    for (const address of new Set(addresses)) {
      const record = addressRecord(this.question.name, address, ttl);
      if (record !== null) records.push(record);
    }
    const wanted = this.question.type === 'ANY' ? records[0]?.type : this.question.type;
    return { answers: records.filter(({ type }) => type === wanted), additionals: [] };
  }

  private asks(type: string): boolean {
    return this.question.type === type || this.question.type === 'ANY';
  }
}

function hasTag(entry: ServiceEntry, tag: string): boolean {
  return entry.definition.tags.some((own) => own.toLowerCase() === tag);
}

function addressOf({ definition, host }: ServiceEntry): string {
  return definition.address === '' ? host.value.address : definition.address;
}
