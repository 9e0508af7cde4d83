/**
 * Which loopback address of this host stands for which service. An address is derived from the name, so it
 * is the same on every host and after every restart unless two names collide; the later one then takes the
 * next free address and keeps it as long as the agent runs.
 */
import { createHash } from 'node:crypto';
import { assert, Fault } from '../core.ts';

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

export class VipPool {
  private readonly range: VipRange;
  private readonly byName = new Map<string, string>();
  private readonly taken = new Map<string, string>();

  constructor(range: VipRange) {
    this.range = range;
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
      this.taken.set(address, service);
      this.byName.set(service, address);
      return address;
    }
    assert(false, 'a range with a free address yields one');
  }

  /** Gives back the addresses of services that are no longer anywhere in the mesh. */
  retain(services: ReadonlySet<string>): void {
    for (const [service, address] of this.byName)
      if (!services.has(service)) {
        this.byName.delete(service);
        this.taken.delete(address);
      }
  }
}
