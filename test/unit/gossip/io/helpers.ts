/** Transports on loopback for the tests of this folder, and waiting for what they report. */
import { EventEmitter, once } from 'node:events';
import { ed25519Signer, type HostId } from '../../../../src/core.ts';
import type { PeerAddress } from '../../../../src/gossip/io/dialer.ts';
import { Transport, type TransportOptions } from '../../../../src/gossip/io/transport.ts';
import type { RelayVerdict } from '../../../../src/gossip/port.ts';
import type { SwimReport } from '../../../../src/gossip/swim-port.ts';

/** What a transport reported, in order. */
export type Seen =
  | { readonly type: 'frame'; readonly from: HostId; readonly text: string }
  | { readonly type: 'delta'; readonly text: string }
  | { readonly type: 'connected' | 'disconnected' | 'unreachable'; readonly peer: HostId };

/** Who may connect and where they listen, shared by the transports of one test. */
export class Directory {
  readonly admitted = new Set<HostId>();
  readonly addresses = new Map<HostId, PeerAddress>();
}

/** A transport and all that it reported. */
export class Host {
  readonly seen: Seen[] = [];
  readonly reports: SwimReport[] = [];
  private readonly news = new EventEmitter();
  transport!: Transport;

  note(seen: Seen): void {
    this.seen.push(seen);
    this.news.emit('seen');
  }

  get id(): HostId {
    return this.transport.self;
  }

  /** Resolves once `matches` holds for something that was or will be reported. */
  async until(matches: (seen: Seen) => boolean): Promise<Seen> {
    for (;;) {
      const found = this.seen.find(matches);
      if (found !== undefined) return found;
      await once(this.news, 'seen');
    }
  }

  untilConnected(peer: Host): Promise<Seen> {
    return this.until((seen) => seen.type === 'connected' && seen.peer === peer.id);
  }

  untilText(type: 'frame' | 'delta', text: string): Promise<Seen> {
    return this.until((seen) => seen.type === type && seen.text === text);
  }

  count(type: Seen['type']): number {
    return this.seen.filter((seen) => seen.type === type).length;
  }
}

export const seedOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);
export const idOf = (number: number): HostId => ed25519Signer(seedOf(number)).publicKey;
export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

export interface HostOverrides extends Partial<TransportOptions> {
  /** What a delta of this text is worth; `accept` unless told. */
  readonly verdictOn?: (text: string) => RelayVerdict;
}

/** Starts host number `number` on 127.0.1.`number`, admitted and listed in `directory`. */
export async function startHost(
  directory: Directory,
  number: number,
  overrides: HostOverrides = {},
): Promise<Host> {
  const host = new Host();
  const bind = `127.0.1.${number}`;
  const transport = await Transport.start({
    seed: seedOf(number),
    mesh: new Uint8Array(32).fill(7),
    epoch: 1,
    root: '\0'.repeat(8),
    bind,
    port: 0,
    admitted: (id) => directory.admitted.has(id),
    addressOf: (id) => directory.addresses.get(id) ?? null,
    handlers: {
      report: (report) => host.reports.push(report),
      frame: (from, bytes) => host.note({ type: 'frame', from, text: textOf(bytes) }),
      delta: (bytes) => {
        const text = textOf(bytes);
        const verdict = overrides.verdictOn?.(text) ?? 'accept';
        if (verdict === 'accept') host.note({ type: 'delta', text });
        return verdict;
      },
      connected: (peer) => host.note({ type: 'connected', peer }),
      disconnected: (peer) => host.note({ type: 'disconnected', peer }),
      unreachable: (peer) => host.note({ type: 'unreachable', peer }),
      joinRequest: () => undefined,
      introduction: () => undefined,
    },
    ...overrides,
  });
  host.transport = transport;
  directory.admitted.add(transport.self);
  directory.addresses.set(transport.self, { address: bind, port: transport.port });
  return host;
}
