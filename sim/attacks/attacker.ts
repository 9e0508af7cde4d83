/**
 * An admitted host in the hands of somebody else: its agent goes on, and beside it whoever has its key and its
 * connections lies, forges, replays and withholds. Nothing it says may make a healthy host be found dead,
 * a replica hold what its writer did not sign, or the others disagree for good.
 */
import { seal } from '../../src/agent/envelope.ts';
import { ADMISSION, CONFIG_ENTRY, GRANT, HOST, SERVICE } from '../../src/agent/kinds.ts';
import { ByteWriter, encodeJson, Fault, type HostId, type Random, randomInt } from '../../src/core.ts';
import { originCoordinate } from '../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame } from '../../src/gossip/framecodec.ts';
import { type Frame, maxRumors, type Rumor } from '../../src/gossip/frames.ts';
import { encodeRecord, type RecordFields } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { decodeDelta, encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import type { Host } from '../host/host.ts';
import { drawBytes, drawSigner } from '../host/keys.ts';
import { serviceDefinition } from '../host/services.ts';
import type { Network } from '../network/network.ts';
import type { Pubsub } from '../network/pubsub.ts';
import type { Attack } from '../plan.ts';
import type { World } from '../world.ts';
import { damaged, type Forgeries, garbage } from './forgery.ts';

/** What an attacker has to work with. */
export interface Field {
  readonly world: World;
  readonly network: Network;
  readonly pubsub: Pubsub;
  readonly hosts: readonly Host[];
  readonly forgeries: Forgeries;
}

/** An attack is a burst of blows: often enough that each protocol's timers run out in between. */
const blows = 20;
const blowEveryMs = 250;
/** What it keeps of what passes by. */
const overheardMax = 256;
const overheardRecordsMax = 1_000;
/** Agents that one blow aims at. */
const targetsMax = 12;
/** As much garbage as one frame of an honest agent may have bytes. */
const garbageMaxBytes = 64 * 1024;
/** As far ahead as honest clocks may be, but for the path; and further than any. */
const nearFutureMs = 55_000;
const farFutureMs = 3_600_000;
const withholdMs = 20_000;
/** Half of what an agent believes at once of claims about its own incarnation. */
const climbMax = 2 ** 23;

export class Attacker {
  private readonly host: Host;
  private readonly field: Field;
  private readonly random: Random;
  private readonly frames: Uint8Array[] = [];
  private readonly records: Uint8Array[] = [];
  private strikes = 0;

  constructor(host: Host, field: Field) {
    this.host = host;
    this.field = field;
    this.random = field.world.random(`attacker/${host.number}`);
  }

  /** A frame arrived at the attacker's host. */
  overhear(frame: Uint8Array): void {
    this.frames.push(frame);
    if (this.frames.length > overheardMax) this.frames.shift();
  }

  /** A delta arrived at the attacker's host. */
  overhearDelta(delta: Uint8Array): void {
    try {
      this.records.push(...decodeDelta(delta));
    } catch (error) {
      // Another attacker's garbage.
      if (!(error instanceof Fault)) throw error;
    }
    this.records.splice(0, Math.max(0, this.records.length - overheardRecordsMax));
  }

  strike(how: Attack): void {
    this.strikes++;
    if (!this.host.isRunning) return;
    if (how === 'withhold') this.field.pubsub.mute(this.host.number, this.field.world.now + withholdMs);
    else this.blow(how, blows);
  }

  /** Strikes while it can, then again until the attack is over. */
  private blow(how: Exclude<Attack, 'withhold'>, left: number): void {
    if (left === 0) return;
    if (this.host.isReady && !this.host.frozen) this.deal(how, left);
    this.field.world.after(blowEveryMs * (0.5 + this.random.next()), () => this.blow(how, left - 1));
  }

  private deal(how: Exclude<Attack, 'withhold'>, round: number): void {
    switch (how) {
      case 'forged-deaths':
        this.forgeDeaths();
        break;
      case 'inflated-incarnations':
        this.inflateIncarnations();
        break;
      case 'replayed-frames':
        for (const target of this.targets()) this.replay(target, this.pick(this.frames));
        break;
      case 'replayed-records':
        this.publish(Array.from({ length: 8 }, () => this.pick(this.records)));
        break;
      case 'future-records':
        this.publish(this.futureRecords(round));
        break;
      case 'equivocation':
        this.equivocate(round);
        break;
      case 'garbage':
        this.throwGarbage();
        break;
      case 'forged-records':
        this.forgeRecords(round);
        break;
      case 'forged-joins':
        this.forgeJoins(round);
        break;
      case 'sweeping-deaths':
        this.sweep();
        break;
    }
  }

  /** Says of the healthy, in the name of several others, that they are down, and to the healthy that it thinks so. */
  private forgeDeaths(): void {
    const targets = this.targets();
    for (const victim of targets.slice(0, 4)) {
      const incarnation = this.incarnationOf(victim) + this.pickOf([0, 0, 1, 1_000]);
      const rumors = Array.from(
        { length: 4 },
        (): Rumor => ({
          state: this.pickOf(['suspect', 'down']),
          id: victim.id,
          incarnation,
          accuser: this.pickOf(this.others()).id,
        }),
      );
      for (const target of targets) this.toSwim(target, { type: 'rumors', rumors });
      const belief = { state: this.pickOf(['suspect', 'down', 'left']), incarnation } as const;
      this.toSwim(victim, this.ping(belief.state, incarnation));
      this.toSwim(victim, { type: 'corroborate', target: victim.id, incarnation, rumors });
    }
  }

  /** Says of everybody, to everybody and in its own name, that it found it down, and asks all to look at all. */
  private sweep(): void {
    const others = this.others();
    for (const target of others) {
      const victims = others.filter((host) => host !== target).slice(0, maxRumors);
      const rumors = victims.map((victim): Rumor => {
        const incarnation = this.incarnationOf(victim) + this.pickOf([0, 1_000]);
        return { state: 'down', id: victim.id, incarnation, accuser: this.id };
      });
      this.toSwim(target, { type: 'rumors', rumors });
      for (const { id } of victims.slice(0, targetsMax))
        this.toSwim(target, { type: 'corroborate', target: id, incarnation: 0, rumors: [] });
    }
  }

  /** Claims incarnations that nobody signed, and tells the victims that theirs is higher than they think. */
  private inflateIncarnations(): void {
    const targets = this.targets();
    for (const victim of targets.slice(0, 4)) {
      const leap = this.pickOf([1, 2 ** 20, 2 ** 40, 2 ** 52]);
      const incarnation = Math.min(this.incarnationOf(victim) + leap, Number.MAX_SAFE_INTEGER);
      const proof = drawBytes(this.random, 64);
      for (const target of targets)
        this.toSwim(target, {
          type: 'rumors',
          rumors: [{ state: 'alive', id: victim.id, incarnation, proof }],
        });
      this.toSwim(victim, this.ping(this.pickOf(['alive', 'down']), incarnation));
    }
  }

  private ping(state: 'alive' | 'suspect' | 'down' | 'left', incarnation: number): Frame {
    const sequence = randomInt(this.random, 2 ** 32);
    const belief = { state, incarnation };
    return { type: 'ping', sequence, incarnation: 0, coordinate: originCoordinate, belief, rumors: [] };
  }

  /** Its own records from as far ahead as is believed, and from further; versions far above its own. */
  private futureRecords(round: number): Uint8Array[] {
    const { now } = this.host;
    const version = this.versionBase() + 2 ** 24 + round;
    const near = this.own({ key: `near-${round}`, version, hlc: (now + nearFutureMs) * 1024 });
    const far = this.own({ key: `far-${round}`, version, hlc: (now + farFutureMs) * 1024 });
    const last = this.own({ key: `last-${round}`, version, hlc: Number.MAX_SAFE_INTEGER });
    this.field.forgeries.noted(far);
    this.field.forgeries.noted(last);
    return [near.bytes, far.bytes, last.bytes];
  }

  /** Two records of one slot and one version: one to some of its neighbours, the other to the rest. */
  private equivocate(round: number): void {
    const { network } = this.field;
    const version = this.versionBase() + 2 ** 20 + round;
    const faces = ['one face', 'another face'].map((face) => {
      const definition = { ...serviceDefinition('ghost'), tags: [face] };
      const service = this.own({ kind: SERVICE, key: 'ghost', version, value: encodeJson(definition) });
      const note = this.own({ key: 'note', version: version + 2 ** 16, value: encodeJson({ face }) });
      return encodeDelta([service.bytes, note.bytes]);
    });
    for (const [index, peer] of network.openPeers(this.host.number).entries())
      network.send(this.host.number, peer, 'publish', faces[index % 2]!);
  }

  private throwGarbage(): void {
    const { network } = this.field;
    for (const target of this.targets()) {
      const bytes = this.random.next() < 0.3 ? garbage(this.random, this.garbageSize()) : this.damagedFrame();
      this.replay(target, bytes);
      network.sendDatagram(this.host.number, target.number, 'join-request', garbage(this.random, 600));
    }
    const delta = encodeDelta(Array.from({ length: 4 }, () => this.pick(this.records)));
    this.scatter(damaged(delta, this.random));
    this.scatter(garbage(this.random, 300));
  }

  /** Over a connection, or as a datagram without its envelope. */
  private replay(target: Host, bytes: Uint8Array): void {
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

  /** Mostly small, now and then as large as can be. */
  private garbageSize(): number {
    return this.random.next() < 0.05 ? garbageMaxBytes : 300;
  }

  private damagedFrame(): Uint8Array {
    const frame = damaged(this.pick(this.frames), this.random);
    return this.random.next() < 0.5 ? frame : seal('gossip', frame.subarray(1));
  }

  /** Records in others' names, and policy that its own key may not sign. */
  private forgeRecords(round: number): void {
    const { forgeries } = this.field;
    const forged = this.targets().flatMap((victim) => {
      const fields = this.fieldsOf({ kind: this.pickOf([SERVICE, HOST, ADMISSION]), key: '' });
      const version = this.pickOf([1, 2 ** 33, 2 ** 52]) + round;
      return [
        forgeries.forge({ ...fields, version }, victim.id, this.random),
        forgeries.forge({ ...fields, version, value: null }, victim.id, this.random),
      ];
    });
    const policy = [CONFIG_ENTRY, GRANT].map((kind) => {
      const key = kind === GRANT ? 'ab'.repeat(8) : 'service-intentions/web';
      const fields = this.fieldsOf({ kind, key });
      return forgeries.noted(encodeRecord({ ...fields, scope: 'policy' }, this.host.signer));
    });
    const all = [...forged, ...policy];
    for (const one of all) this.scatter(encodeDelta([one.bytes]));
    const session = randomInt(this.random, 2 ** 32);
    const records = all.map(({ bytes }) => bytes);
    for (const target of this.targets())
      this.toStream(target, { type: 'sync-records', session, last: true, records });
  }

  /** Asks the sponsors to let in hosts that no grant covers, and some that were let in already. */
  private forgeJoins(round: number): void {
    const { network, forgeries } = this.field;
    for (const target of this.targets()) {
      const stranger = drawSigner(this.random);
      const value = { grantId: 'ab'.repeat(8), name: `stranger-${round}`, founder: false };
      const fields = this.fieldsOf({ kind: ADMISSION, key: '', value: encodeJson(value) });
      const admission = forgeries.noted(encodeRecord(fields, stranger));
      for (const request of [admission.bytes, this.pick(this.records)]) {
        const nonce = randomInt(this.random, 2 ** 32);
        const datagram = new ByteWriter().u32(nonce).raw(request).done();
        network.sendDatagram(this.host.number, target.number, 'join-request', datagram);
      }
    }
  }

  private fieldsOf(some: Partial<RecordFields>): RecordFields {
    const hlc = this.host.now * 1024;
    const value = encodeJson({ forged: true });
    return { scope: 'host', kind: 'note', key: 'note', version: this.versionBase(), hlc, value, ...some };
  }

  private own(some: Partial<RecordFields>): Record {
    return encodeRecord(this.fieldsOf(some), this.host.signer);
  }

  /** Below what its agent has written already, so that small steps above are new. */
  private versionBase(): number {
    let highest = 0;
    for (const { version } of this.host.agent?.ownRecords() ?? []) highest = Math.max(highest, version);
    return highest;
  }

  private incarnationOf(victim: Host): number {
    return this.host.agent?.incarnationOf(victim.id) ?? 0;
  }

  private others(): Host[] {
    return this.field.hosts.filter((host) => host !== this.host && host.isRunning);
  }

  private targets(): Host[] {
    const others = this.others();
    const chosen: Host[] = [];
    while (chosen.length < targetsMax && others.length > 0)
      chosen.push(...others.splice(randomInt(this.random, others.length), 1));
    return chosen;
  }

  private publish(records: readonly Uint8Array[]): void {
    this.scatter(encodeDelta(records.filter(({ length }) => length > 0)));
  }

  /** Hands a delta to all its neighbours, without asking its own agent. */
  private scatter(delta: Uint8Array): void {
    const { network } = this.field;
    for (const peer of network.openPeers(this.host.number))
      network.send(this.host.number, peer, 'publish', delta);
  }

  private toSwim(target: Host, frame: Frame): void {
    if (this.random.next() < 0.3) this.toStream(target, frame);
    else this.toPort(target, encodeFrame(frame));
  }

  /** What membership takes for the word of this host: whole frames, as datagrams. */
  private toPort(target: Host, bytes: Uint8Array): void {
    this.field.network.sendDatagram(this.host.number, target.number, 'membership', bytes);
  }

  private toStream(target: Host, frame: Frame): void {
    this.toTarget(target, seal('gossip', encodeFrame(frame)));
  }

  private toTarget(target: Host, bytes: Uint8Array): void {
    this.field.network.send(this.host.number, target.number, 'frame', bytes);
  }

  private pick(from: readonly Uint8Array[]): Uint8Array {
    return from[randomInt(this.random, Math.max(1, from.length))] ?? new Uint8Array(0);
  }

  private pickOf<const T>(from: readonly T[]): T {
    return from[randomInt(this.random, from.length)]!;
  }

  /** Who it is, for those who look on. */
  get id(): HostId {
    return this.host.id;
  }

  get hasStruck(): boolean {
    return this.strikes > 0;
  }
}
