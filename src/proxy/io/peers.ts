/** Who may be at the other end of a TLS connection, by its certificate and what is denied at the moment. */
import type { DeniedPeers } from '../config.ts';
import type { DeniedPeerCount } from '../dataplane.ts';
import type { VerifiedPeer, VerifyPeer } from './options.ts';
import type { QuietLog } from './quiet-log.ts';

/** Why an otherwise good peer is refused; stable, for counters and logs. */
export type Denial = 'host-denied' | 'serial-denied';

type Direction = DeniedPeerCount['direction'];
type Stage = DeniedPeerCount['stage'];

/**
 * Asked at each handshake, and again for every open connection with a new configuration; never for a request. A certificate names the host it was issued to, so a denied host is refused whatever it presents.
 */
export class Peers {
  private readonly verifyCertificate: VerifyPeer;
  private readonly log: QuietLog;
  private denied: DeniedPeers = { hosts: [], serials: [] };
  private hosts: ReadonlySet<string> = new Set();
  private serials: ReadonlySet<string> = new Set();
  private readonly counts = new Map<string, DeniedPeerCount>();

  constructor(verifyCertificate: VerifyPeer, log: QuietLog) {
    this.verifyCertificate = verifyCertificate;
    this.log = log;
  }

  /** From now on these are refused. False when they were already, and nobody else was. */
  deny(denied: DeniedPeers): boolean {
    if (equal(denied.hosts, this.denied.hosts) && equal(denied.serials, this.denied.serials)) return false;
    this.denied = denied;
    this.hosts = new Set(denied.hosts);
    this.serials = new Set(denied.serials);
    return true;
  }

  readonly verify: VerifyPeer = (der) => {
    const peer = this.verifyCertificate(der);
    if ('problem' in peer) return peer;
    const denial = this.denialOf(peer);
    return denial === null ? peer : { problem: denial };
  };

  denialOf({ host, serial }: VerifiedPeer): Denial | null {
    if (this.hosts.has(host)) return 'host-denied';
    return this.serials.has(serial) ? 'serial-denied' : null;
  }

  /** Counts and logs a peer that was refused, or cut off, if it was for being denied. */
  note(problem: string, direction: Direction, stage: Stage, peer: string): void {
    if (problem !== 'host-denied' && problem !== 'serial-denied') return;
    const key = `${direction} ${stage} ${problem}`;
    const count = (this.counts.get(key)?.count ?? 0) + 1;
    this.counts.set(key, { direction, stage, reason: problem, count });
    this.log.warn('peer-denied', { direction, stage, reason: problem, peer });
  }

  deniedCounts(): DeniedPeerCount[] {
    return [...this.counts.values()];
  }
}

function equal(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
