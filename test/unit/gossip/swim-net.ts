/** Membership machines on a virtual clock, joined by datagrams and connections that a test can cut apart. */
import { ed25519Signer, ed25519Verify, type HostId, type Millis, seededRandom } from '../../../src/core.ts';
import { Swim } from '../../../src/gossip/membership/swim.ts';
import type { SwimEffect, SwimInput, SwimOrder, SwimReport, Via } from '../../../src/gossip/swim-port.ts';

/** Digest of an empty replica, for what it matters here. */
export const emptyRoot = '00000000';
const start: Millis = 1_000_000;
/** One way, milliseconds. */
const travelMs = { datagram: 1, stream: 2 } as const;

export interface Told {
  readonly report: SwimReport;
  readonly at: Millis;
}

export interface Host {
  readonly id: HostId;
  readonly swim: Swim;
  readonly told: Told[];
  isRunning: boolean;
}

interface Arrival {
  readonly at: Millis;
  readonly to: Host;
  readonly input: SwimInput;
}

export class SwimNet {
  now: Millis = start;
  readonly hosts: Host[];
  /** Whether something gets through; everything does unless a test says otherwise. */
  passes: (from: Host, to: Host, via: Via) => boolean = () => true;
  /** How many frames went each way. */
  readonly sent: { [via in Via]: number } = { datagram: 0, stream: 0 };
  private readonly arrivals: Arrival[] = [];

  /** `count` hosts that are members of each other. */
  constructor(count: number) {
    this.hosts = Array.from({ length: count }, (_, i) => {
      const signer = ed25519Signer(new Uint8Array(32).fill(i + 1));
      const verify = ed25519Verify;
      const id = signer.publicKey;
      const swim = new Swim({ self: id, signer, verify, random: seededRandom(i), epoch: 1, root: emptyRoot });
      return { id, swim, told: [], isRunning: true };
    });
    for (const host of this.hosts)
      for (const other of this.hosts) if (other !== host) this.order(host, { type: 'add', id: other.id });
  }

  host(index: number): Host {
    return this.hosts[index]!;
  }

  order(host: Host, order: SwimOrder): void {
    this.feed(host, { type: 'order', order });
  }

  /** Feeds one input, carries out what follows, and returns it. */
  feed(host: Host, input: SwimInput): readonly SwimEffect[] {
    const effects = host.swim.step(input, this.now);
    for (const effect of effects) this.perform(host, effect);
    return effects;
  }

  private perform(from: Host, effect: SwimEffect): void {
    if (effect.type === 'datagram') {
      this.sent.datagram++;
      const input: SwimInput = { type: 'datagram', from: from.id, bytes: effect.bytes };
      this.carry(from, effect.to, 'datagram', input);
      return;
    }
    const { report } = effect;
    from.told.push({ report, at: this.now });
    if (report.type === 'frame') {
      this.sent.stream++;
      const order: SwimOrder = { type: 'frame', from: from.id, bytes: report.bytes };
      if (!this.carry(from, report.to, 'stream', { type: 'order', order })) this.refuse(from, report.to);
    } else if (report.type === 'connect') {
      const order = (peer: HostId): SwimInput => ({ type: 'order', order: { type: 'connected', peer } });
      if (!this.carry(from, report.peer, 'stream', order(from.id))) this.refuse(from, report.peer);
      else this.arrivals.push({ at: this.now + travelMs.stream, to: from, input: order(report.peer) });
    }
  }

  private carry(from: Host, id: HostId, via: Via, input: SwimInput): boolean {
    const to = this.hosts.find((host) => host.id === id)!;
    if (!to.isRunning || !this.passes(from, to, via)) return false;
    this.arrivals.push({ at: this.now + travelMs[via], to, input });
    return true;
  }

  private refuse(host: Host, peer: HostId): void {
    const input: SwimInput = { type: 'order', order: { type: 'unreachable', peer } };
    this.arrivals.push({ at: this.now + travelMs.stream, to: host, input });
  }

  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      this.arrivals.sort((a, b) => a.at - b.at);
      const arrival = this.arrivals[0];
      const [host, wake] = this.nextWake();
      if (arrival !== undefined && arrival.at <= Math.min(wake, end)) {
        this.arrivals.shift();
        this.now = arrival.at;
        if (arrival.to.isRunning) this.feed(arrival.to, arrival.input);
      } else if (host !== null && wake <= end) {
        this.now = Math.max(this.now, wake);
        this.feed(host, { type: 'wake' });
      } else break;
    }
    this.now = end;
  }

  private nextWake(): [Host | null, Millis] {
    let next: [Host | null, Millis] = [null, Number.POSITIVE_INFINITY];
    for (const host of this.hosts) {
      const wake = host.isRunning ? host.swim.nextWake() : null;
      if (wake !== null && wake < next[1]) next = [host, wake];
    }
    return next;
  }
}

/** What a host was told of one kind, with when. */
export function reportsOf<T extends SwimReport['type']>(
  host: Host,
  type: T,
): { readonly report: Extract<SwimReport, { type: T }>; readonly at: Millis }[] {
  return host.told.filter(
    (told): told is { report: Extract<SwimReport, { type: T }>; at: Millis } => told.report.type === type,
  );
}

/** The states that a host was told of another, in order. */
export function statesOf(host: Host, of: Host): string[] {
  return reportsOf(host, 'member')
    .filter(({ report }) => report.member.id === of.id)
    .map(({ report }) => report.member.state);
}
