/**
 * What an attacker has in its hand: an admitted host's key, to sign with, and its connections, to send over, past
 * the host's own agent.
 */
import { seal } from '../../src/agent/envelope.ts';
import { encodeJson, Fault, type HostId, type Random, randomInt } from '../../src/core.ts';
import { originCoordinate } from '../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame } from '../../src/gossip/framecodec.ts';
import type { Frame } from '../../src/gossip/frames.ts';
import { encodeRecord, type RecordFields } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import type { Host } from '../host/host.ts';
import type { Network } from '../network/network.ts';
import type { Pubsub } from '../network/pubsub.ts';
import type { World } from '../world.ts';
import type { Forgeries } from './forgery.ts';

/** What an attacker has to work with. */
export interface Field {
  readonly world: World;
  readonly network: Network;
  readonly pubsub: Pubsub;
  readonly hosts: readonly Host[];
  readonly forgeries: Forgeries;
}

/** Agents that one blow aims at. */
export const targetsMax = 12;
/** Half of what an agent believes at once of claims about its own incarnation. */
const climbMax = 2 ** 23;

export class Hand {
  readonly host: Host;
  readonly field: Field;
  readonly random: Random;

  /** `purpose` names its stream of chance. */
  constructor(host: Host, field: Field, purpose: string) {
    this.host = host;
    this.field = field;
    this.random = field.world.random(`${purpose}/${host.number}`);
  }

  get id(): HostId {
    return this.host.id;
  }

  ping(state: 'alive' | 'suspect' | 'down' | 'left', incarnation: number): Frame {
    const sequence = randomInt(this.random, 2 ** 32);
    const belief = { state, incarnation };
    return { type: 'ping', sequence, incarnation: 0, coordinate: originCoordinate, belief, rumors: [] };
  }

  /** Over a connection, or as a datagram without its envelope. */
  replay(target: Host, bytes: Uint8Array): void {
    if (this.betraysItself(bytes.subarray(1))) return;
    if (this.random.next() < 0.5) this.toTarget(target, bytes);
    else this.toPort(target, bytes.subarray(1));
  }

  /**
   * Whether a frame would make the others believe that this very host has an incarnation which its own agent will
   * not climb to: that harms nobody but the host whose key is lost anyway.
   */
  private betraysItself(bytes: Uint8Array): boolean {
    try {
      const frame = decodeFrame(bytes);
      return 'belief' in frame && frame.incarnation > this.incarnationOf(this.host) + climbMax;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return false;
    }
  }

  fieldsOf(some: Partial<RecordFields>): RecordFields {
    const hlc = this.host.now * 1024;
    const value = encodeJson({ forged: true });
    return { scope: 'host', kind: 'note', key: 'note', version: this.versionBase(), hlc, value, ...some };
  }

  own(some: Partial<RecordFields>): Record {
    return encodeRecord(this.fieldsOf(some), this.host.signer);
  }

  /** The highest version that its agent has written: small steps above are new. */
  versionBase(): number {
    let highest = 0;
    for (const { version } of this.host.agent?.ownRecords() ?? []) highest = Math.max(highest, version);
    return highest;
  }

  incarnationOf(victim: Host): number {
    return this.host.agent?.incarnationOf(victim.id) ?? 0;
  }

  others(): Host[] {
    return this.field.hosts.filter((host) => host !== this.host && host.isRunning);
  }

  targets(): Host[] {
    const others = this.others();
    const chosen: Host[] = [];
    while (chosen.length < targetsMax && others.length > 0)
      chosen.push(...others.splice(randomInt(this.random, others.length), 1));
    return chosen;
  }

  publish(records: readonly Uint8Array[]): void {
    this.scatter(encodeDelta(records.filter(({ length }) => length > 0)));
  }

  /** Hands a delta to all its neighbours, without asking its own agent. */
  scatter(delta: Uint8Array): void {
    const { network } = this.field;
    for (const peer of network.openPeers(this.host.number))
      network.send(this.host.number, peer, 'publish', delta);
  }

  toSwim(target: Host, frame: Frame): void {
    if (this.random.next() < 0.3) this.toStream(target, frame);
    else this.toPort(target, encodeFrame(frame));
  }

  /** What membership takes for the word of this host: whole frames, as datagrams. */
  toPort(target: Host, bytes: Uint8Array): void {
    this.field.network.sendDatagram(this.host.number, target.number, 'membership', bytes);
  }

  toStream(target: Host, frame: Frame): void {
    this.toTarget(target, seal('gossip', encodeFrame(frame)));
  }

  toTarget(target: Host, bytes: Uint8Array): void {
    this.field.network.send(this.host.number, target.number, 'frame', bytes);
  }

  pick(from: readonly Uint8Array[]): Uint8Array {
    return from[randomInt(this.random, Math.max(1, from.length))] ?? new Uint8Array(0);
  }

  pickOf<const T>(from: readonly T[]): T {
    return from[randomInt(this.random, from.length)]!;
  }
}
