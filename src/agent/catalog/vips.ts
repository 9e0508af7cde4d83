/**
 * Which loopback address of this host stands for which service. An address is derived from the name, so it
 * is the same on every host and after every restart. Where two names collide (among 300 services of a /16 that
 * happens every other time) the later one takes the next free address, and that is kept on disk: an application
 * that looked it up once finds nobody else behind it after a restart.
 */
import { createHash } from 'node:crypto';
import { assert, Fault } from '../../core.ts';
import type { StoreOp } from '../../gossip/port.ts';

/** An IPv4 network: first usable address as an integer, and how many addresses there are. */
export interface VipRange {
  readonly first: number;
  readonly size: number;
}

/** 127.0.0.0/24 holds localhost and what systems listen on beside it, such as a resolver on 127.0.0.53. */
const firstFree = 127 * 2 ** 24 + 256;

/**
 * Parses `127.64.0.0/16`; `Fault('bad-vip-range')` unless it is an IPv4 network of /9 to /30 within 127.0.0.0/8
 * and clear of 127.0.0.0/24. Host bits may be set, and mean nothing.
 */
export function parseVipRange(cidr: string): VipRange {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(cidr);
  const octets = match?.slice(1, 5).map(Number) ?? [];
  const bits = Number(match?.[5]);
  const address = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  const size = 2 ** (32 - bits);
  const network = address - (address % size);
  const isLoopback = octets[0] === 127 && octets.every((octet) => octet <= 255);
  if (match === null || !isLoopback || bits < 9 || bits > 30 || network < firstFree)
    throw new Fault(
      'bad-vip-range',
      `"${cidr}" is not a network within 127.0.0.0/8 and clear of 127.0.0.0/24, such as 127.64.0.0/16`,
      { field: 'vip-range' },
    );
  return { first: network + 1, size: size - 2 };
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address / 2 ** shift) & 255).join('.');
}

/** Where the store keeps the address of a service that did not get the one derived from its name. */
const vipPrefix = 'vip/';

/** Whether the store keeps this entry for addresses of services, not for records. */
export function isVip(key: string): boolean {
  return key.startsWith(vipPrefix);
}

export class VipPool {
  private readonly range: VipRange;
  private readonly byName = new Map<string, string>();
  private readonly taken = new Map<string, string>();
  /** Services with another address than the one derived from their name. */
  private readonly displaced = new Set<string>();
  private unsaved: StoreOp[] = [];

  constructor(range: VipRange) {
    this.range = range;
  }

  /** Takes on what `changes` told the store, before any address is handed out; what fits no more is forgotten. */
  restore(entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>): void {
    for (const { key, value } of entries) {
      if (!isVip(key)) continue;
      const address = Buffer.from(value).toString('latin1');
      if (this.isInRange(address) && !this.taken.has(address))
        this.take(key.slice(vipPrefix.length), address);
      else this.unsaved.push({ type: 'delete', key });
    }
    for (const service of this.byName.keys()) this.displaced.add(service);
  }

  private isInRange(address: string): boolean {
    const place = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0) - this.range.first;
    return place >= 0 && place < this.range.size && dotted(this.range.first + place) === address;
  }

  private take(service: string, address: string): void {
    this.taken.set(address, service);
    this.byName.set(service, address);
  }

  /** The address of a service, handed out on first use; null once the range is exhausted. */
  addressOf(service: string): string | null {
    const known = this.byName.get(service);
    if (known !== undefined) return known;
    if (this.taken.size >= this.range.size) return null;
    const start = createHash('sha256').update('starling vip\0').update(service).digest().readUInt32BE(0);
    for (let probe = 0; probe < this.range.size; probe++) {
      const address = dotted(this.range.first + ((start + probe) % this.range.size));
      if (this.taken.has(address)) continue;
      this.take(service, address);
      if (probe > 0) this.remember(service, address);
      return address;
    }
    assert(false, 'a range with a free address yields one');
  }

  private remember(service: string, address: string): void {
    this.displaced.add(service);
    this.unsaved.push({ type: 'put', key: vipPrefix + service, value: Buffer.from(address, 'latin1') });
  }

  /** Gives back the addresses of services that are no longer anywhere in the mesh. */
  retain(services: ReadonlySet<string>): void {
    for (const [service, address] of this.byName)
      if (!services.has(service)) {
        this.byName.delete(service);
        this.taken.delete(address);
        if (this.displaced.delete(service)) this.unsaved.push({ type: 'delete', key: vipPrefix + service });
      }
  }

  /** What the store is to take in since this was asked last. */
  changes(): readonly StoreOp[] {
    const { unsaved } = this;
    this.unsaved = [];
    return unsaved;
  }
}
