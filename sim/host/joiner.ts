/**
 * How a simulated host asks to be let in, step by step as `src/agent/io/belonging.ts` does: a datagram with a
 * self-certifying record, sent a few times; another use of the token when one is taken; and where no answer
 * comes at all, a service manager that starts it again.
 */

import { decodeJoinAnswer, joinRequest } from '../../src/agent/joining/joining.ts';
import { ByteReader, ByteWriter, type HostId, type Millis, type Verify } from '../../src/core.ts';
import { type Genesis, parseGenesis } from '../../src/trust/admission/genesis.ts';
import type { JoinToken } from '../../src/trust/admission/token.ts';
import { Violation } from '../checks/violation.ts';
import type { DatagramKind, Network } from '../network/network.ts';
import type { World } from '../world.ts';
import type { Host } from './host.ts';

/** What a welcome gives. */
export interface Welcome {
  readonly genesis: Genesis;
  readonly admission: Uint8Array;
  readonly sponsor: Host;
  /** The sponsor's signature, hex. */
  readonly signature: string;
}

const retransmitMs = 300;
/** How often one request is sent, and how long after the last an answer is waited for. */
const sendsAtMost = 4;
const answerTimeoutMs = 1_500;
/** A grant made a moment ago may not have reached the sponsor. */
const grantRetryMs = 300;
/** Until the service manager starts a joiner again that gave up. */
const startAgainMs = 2_000;
/** Leads every datagram of the join port. */
const nonceBytes = 4;
/** The join port takes so many of each kind a second, and drops the rest. */
const perSecond = { 'join-request': 50, introduction: 20 };
type Asked = keyof typeof perSecond;

interface Asking {
  readonly host: Host;
  readonly token: JoinToken;
  readonly onWelcome: (welcome: Welcome) => void;
  /** Names the request under way: an answer to an earlier one is not taken. */
  nonce: number;
  admission: Uint8Array;
}

export class Joiner {
  private readonly world: World;
  private readonly network: Network;
  private readonly hosts: () => readonly Host[];
  private readonly verify: Verify;
  private readonly asking = new Map<number, Asking>();
  private readonly buckets = new Map<string, { tokens: number; at: Millis }>();
  private lastNonce = 0;

  constructor(world: World, network: Network, hosts: () => readonly Host[], verify: Verify) {
    this.world = world;
    this.network = network;
    this.hosts = hosts;
    this.verify = verify;
  }

  join(host: Host, token: JoinToken, onWelcome: (welcome: Welcome) => void): void {
    host.enter('joining');
    this.network.processStarted(host.number);
    const nothing = new Uint8Array(0);
    this.request({ host, token, onWelcome, nonce: 0, admission: nothing });
  }

  datagram(at: Host, from: number, kind: DatagramKind, bytes: Uint8Array): void {
    if (kind === 'introduction') {
      if (at.isRunning && this.takeToken(at, kind)) at.introduced(bytes);
      return;
    }
    // Anybody may send anything to this port.
    if (bytes.length < nonceBytes) return;
    const reader = new ByteReader(bytes);
    const nonce = reader.u32();
    const payload = reader.raw(reader.remaining);
    if (kind === 'join-reply') this.answered(at, nonce, payload);
    else if (at.isRunning && this.takeToken(at, 'join-request')) at.joinRequest(from, nonce, payload);
  }

  /** Signs a new request and sends it until it is answered. */
  private request(asking: Asking): void {
    const { host, token } = asking;
    asking.nonce = ++this.lastNonce;
    asking.admission = joinRequest({ name: host.name, hostKey: host.signer, token }, host.now);
    this.asking.set(host.number, asking);
    this.send(asking, asking.nonce, 1);
  }

  private send(asking: Asking, nonce: number, count: number): void {
    if (asking.nonce !== nonce || asking.host.state !== 'joining') return;
    const { host, token } = asking;
    const datagram = new ByteWriter().u32(nonce).raw(asking.admission).done();
    this.network.sendDatagram(host.number, this.sponsorFor(token), 'join-request', datagram);
    if (count < sendsAtMost) this.world.after(retransmitMs, () => this.send(asking, nonce, count + 1));
    else this.world.after(answerTimeoutMs, () => this.giveUp(asking, nonce));
  }

  /** Nobody answered: the process ends, and a new one asks from the beginning. */
  private giveUp(asking: Asking, nonce: number): void {
    if (asking.nonce !== nonce || asking.host.state !== 'joining') return;
    asking.nonce = 0;
    this.world.after(startAgainMs, () => this.request(asking));
  }

  private answered(host: Host, nonce: number, payload: Uint8Array): void {
    const asking = this.asking.get(host.number);
    if (asking === undefined || asking.nonce !== nonce || host.state !== 'joining') return;
    const answer = decodeJoinAnswer(payload);
    if (answer.outcome === 'welcome') {
      const genesis = parseGenesis(answer.genesis, this.verify);
      if (genesis.hash !== asking.token.genesisHash) this.refused(host, 'welcomed to another mesh');
      this.asking.delete(host.number);
      const sponsor = this.hosts()[this.numberOf(answer.sponsor)]!;
      const { signature } = answer;
      asking.onWelcome({ genesis, admission: asking.admission, sponsor, signature });
    } else if (answer.code === 'grant-unknown') {
      asking.nonce = 0;
      this.world.after(grantRetryMs, () => this.request(asking));
    } else this.refused(host, `${answer.code}, ${answer.message}`);
  }

  private refused(host: Host, why: string): never {
    throw new Violation('join', this.world, `${host.name} has a valid token and was turned away: ${why}`);
  }

  private takeToken(host: Host, kind: Asked): boolean {
    const rate = perSecond[kind];
    const key = `${host.number} ${kind}`;
    const bucket = this.buckets.get(key) ?? { tokens: rate, at: this.world.now };
    const earned = ((this.world.now - bucket.at) / 1000) * rate;
    bucket.tokens = Math.min(rate, bucket.tokens + earned);
    bucket.at = this.world.now;
    this.buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** The token's seed; where that host is gone, an operator has made the joiner ask another. */
  private sponsorFor(token: JoinToken): number {
    const seed = this.numberOf(token.seeds[0]!.host);
    if (this.hosts()[seed]!.isRunning) return seed;
    return this.hosts().find(({ isReady }) => isReady)?.number ?? seed;
  }

  private numberOf(id: HostId): number {
    return this.hosts().findIndex((host) => host.id === id);
  }
}
