/**
 * An admitted host in the hands of somebody else: its agent goes on, and beside it whoever has its key and its
 * connections lies, forges, replays and withholds. Nothing it says may make a healthy host be found dead,
 * a replica hold what its writer did not sign, or the others disagree for good.
 */
import { seal } from '../../src/agent/envelope.ts';
import { ADMISSION, CONFIG_ENTRY, GRANT, HOST, SERVICE } from '../../src/agent/kinds.ts';
import { ByteWriter, encodeJson, Fault, type HostId, type Random, randomInt } from '../../src/core.ts';
import { maxRumors, type Rumor } from '../../src/gossip/frames.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import { decodeDelta, encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import type { Host } from '../host/host.ts';
import { drawBytes, drawSigner } from '../host/keys.ts';
import { serviceDefinition } from '../host/services.ts';
import type { Attack } from '../plan.ts';
import { damaged, garbage } from './forgery.ts';
import { type Field, Hand, targetsMax } from './hand.ts';
import { Besieger } from './siege.ts';

/** An attack is a burst of blows: often enough that each protocol's timers run out in between. */
const blows = 20;
const blowEveryMs = 250;
/** What it keeps of what passes by. */
const overheardMax = 256;
const overheardRecordsMax = 1_000;
/** As much garbage as one frame of an honest agent may have bytes. */
const garbageMaxBytes = 64 * 1024;
/** As far ahead as honest clocks may be, but for the path; and further than any. */
const nearFutureMs = 55_000;
const farFutureMs = 3_600_000;
const withholdMs = 20_000;

/** What is done blow by blow. */
type Blow = Exclude<Attack, 'withhold' | 'stonewall'>;

export class Attacker {
  private readonly hand: Hand;
  private readonly host: Host;
  private readonly field: Field;
  private readonly random: Random;
  private readonly besieger: Besieger;
  private readonly frames: Uint8Array[] = [];
  private readonly records: Uint8Array[] = [];
  private strikes = 0;

  constructor(host: Host, field: Field) {
    this.hand = new Hand(host, field, 'attacker');
    this.host = host;
    this.field = field;
    this.random = this.hand.random;
    this.besieger = new Besieger(new Hand(host, field, 'besieger'), this.frames);
  }

  /** Whether it keeps back a frame that its own agent sends. */
  keepsBack(frame: Uint8Array): boolean {
    return this.besieger.keepsBack(frame);
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
    const { number } = this.host;
    if (how === 'withhold') this.field.pubsub.mute(number, this.field.world.now + withholdMs);
    else if (how === 'stonewall') this.besieger.stonewall();
    else this.blow(how, blows);
  }

  /** Strikes while it can, then again until the attack is over. */
  private blow(how: Blow, left: number): void {
    if (left === 0) return;
    if (this.host.isReady && !this.host.frozen) this.deal(how, left);
    this.field.world.after(blowEveryMs * (0.5 + this.random.next()), () => this.blow(how, left - 1));
  }

  private deal(how: Blow, round: number): void {
    switch (how) {
      case 'forged-deaths':
        this.forgeDeaths();
        break;
      case 'inflated-incarnations':
        this.inflateIncarnations();
        break;
      case 'replayed-frames':
        for (const target of this.hand.targets()) this.hand.replay(target, this.hand.pick(this.frames));
        break;
      case 'replayed-records':
        this.hand.publish(Array.from({ length: 8 }, () => this.hand.pick(this.records)));
        break;
      case 'future-records':
        this.hand.publish(this.futureRecords(round));
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
      default:
        this.besieger.deal(how);
    }
  }

  /** Says of the healthy, in the name of several others, that they are down, and to the healthy that it thinks so. */
  private forgeDeaths(): void {
    const targets = this.hand.targets();
    for (const victim of targets.slice(0, 4)) {
      const incarnation = this.hand.incarnationOf(victim) + this.hand.pickOf([0, 0, 1, 1_000]);
      const rumors = Array.from(
        { length: 4 },
        (): Rumor => ({
          state: this.hand.pickOf(['suspect', 'down']),
          id: victim.id,
          incarnation,
          accuser: this.hand.pickOf(this.hand.others()).id,
        }),
      );
      for (const target of targets) this.hand.toSwim(target, { type: 'rumors', rumors });
      const belief = { state: this.hand.pickOf(['suspect', 'down', 'left']), incarnation } as const;
      this.hand.toSwim(victim, this.hand.ping(belief.state, incarnation));
      this.hand.toSwim(victim, { type: 'corroborate', target: victim.id, incarnation, rumors });
    }
  }

  /** Says of everybody, to everybody and in its own name, that it found it down, and asks all to look at all. */
  private sweep(): void {
    const others = this.hand.others();
    for (const target of others) {
      const victims = others.filter((host) => host !== target).slice(0, maxRumors);
      const rumors = victims.map((victim): Rumor => {
        const incarnation = this.hand.incarnationOf(victim) + this.hand.pickOf([0, 1_000]);
        return { state: 'down', id: victim.id, incarnation, accuser: this.id };
      });
      this.hand.toSwim(target, { type: 'rumors', rumors });
      for (const { id } of victims.slice(0, targetsMax))
        this.hand.toSwim(target, { type: 'corroborate', target: id, incarnation: 0, rumors: [] });
    }
  }

  /** Claims incarnations that nobody signed, and tells the victims that theirs is higher than they think. */
  private inflateIncarnations(): void {
    const targets = this.hand.targets();
    for (const victim of targets.slice(0, 4)) {
      const leap = this.hand.pickOf([1, 2 ** 20, 2 ** 40, 2 ** 52]);
      const incarnation = Math.min(this.hand.incarnationOf(victim) + leap, Number.MAX_SAFE_INTEGER);
      const proof = drawBytes(this.random, 64);
      for (const target of targets)
        this.hand.toSwim(target, {
          type: 'rumors',
          rumors: [{ state: 'alive', id: victim.id, incarnation, proof }],
        });
      this.hand.toSwim(victim, this.hand.ping(this.hand.pickOf(['alive', 'down']), incarnation));
    }
  }

  /** Its own records from as far ahead as is believed, and from further; versions far above its own. */
  private futureRecords(round: number): Uint8Array[] {
    const { now } = this.host;
    const version = this.hand.versionBase() + 2 ** 24 + round;
    const near = this.hand.own({ key: `near-${round}`, version, hlc: (now + nearFutureMs) * 1024 });
    const far = this.hand.own({ key: `far-${round}`, version, hlc: (now + farFutureMs) * 1024 });
    const last = this.hand.own({ key: `last-${round}`, version, hlc: Number.MAX_SAFE_INTEGER });
    this.field.forgeries.noted(far);
    this.field.forgeries.noted(last);
    return [near.bytes, far.bytes, last.bytes];
  }

  /** Two records of one slot and one version: one to some of its neighbours, the other to the rest. */
  private equivocate(round: number): void {
    const { network } = this.field;
    const version = this.hand.versionBase() + 2 ** 20 + round;
    const faces = ['one face', 'another face'].map((face) => {
      const definition = { ...serviceDefinition('ghost'), tags: [face] };
      const service = this.hand.own({ kind: SERVICE, key: 'ghost', version, value: encodeJson(definition) });
      const note = this.hand.own({ key: 'note', version: version + 2 ** 16, value: encodeJson({ face }) });
      return encodeDelta([service.bytes, note.bytes]);
    });
    for (const [index, peer] of network.openPeers(this.host.number).entries())
      network.send(this.host.number, peer, 'publish', faces[index % 2]!);
  }

  private throwGarbage(): void {
    const { network } = this.field;
    for (const target of this.hand.targets()) {
      const bytes = this.random.next() < 0.3 ? garbage(this.random, this.garbageSize()) : this.damagedFrame();
      this.hand.replay(target, bytes);
      network.sendDatagram(this.host.number, target.number, 'join-request', garbage(this.random, 600));
    }
    const delta = encodeDelta(Array.from({ length: 4 }, () => this.hand.pick(this.records)));
    this.hand.scatter(damaged(delta, this.random));
    this.hand.scatter(garbage(this.random, 300));
  }

  /** Mostly small, now and then as large as can be. */
  private garbageSize(): number {
    return this.random.next() < 0.05 ? garbageMaxBytes : 300;
  }

  private damagedFrame(): Uint8Array {
    const frame = damaged(this.hand.pick(this.frames), this.random);
    return this.random.next() < 0.5 ? frame : seal('gossip', frame.subarray(1));
  }

  /** Records in others' names, and policy that its own key may not sign. */
  private forgeRecords(round: number): void {
    const { forgeries } = this.field;
    const forged = this.hand.targets().flatMap((victim) => {
      const fields = this.hand.fieldsOf({ kind: this.hand.pickOf([SERVICE, HOST, ADMISSION]), key: '' });
      const version = this.hand.pickOf([1, 2 ** 33, 2 ** 52]) + round;
      return [
        forgeries.forge({ ...fields, version }, victim.id, this.random),
        forgeries.forge({ ...fields, version, value: null }, victim.id, this.random),
      ];
    });
    const policy = [CONFIG_ENTRY, GRANT].map((kind) => {
      const key = kind === GRANT ? 'ab'.repeat(8) : 'service-intentions/web';
      const fields = this.hand.fieldsOf({ kind, key });
      return forgeries.noted(encodeRecord({ ...fields, scope: 'policy' }, this.host.signer));
    });
    const all = [...forged, ...policy];
    for (const one of all) this.hand.scatter(encodeDelta([one.bytes]));
    const session = randomInt(this.random, 2 ** 32);
    const records = all.map(({ bytes }) => bytes);
    for (const target of this.hand.targets())
      this.hand.toStream(target, { type: 'sync-records', session, last: true, records });
  }

  /** Asks the sponsors to let in hosts that no grant covers, and some that were let in already. */
  private forgeJoins(round: number): void {
    const { network, forgeries } = this.field;
    for (const target of this.hand.targets()) {
      const stranger = drawSigner(this.random);
      const value = { grantId: 'ab'.repeat(8), name: `stranger-${round}`, founder: false };
      const fields = this.hand.fieldsOf({ kind: ADMISSION, key: '', value: encodeJson(value) });
      const admission = forgeries.noted(encodeRecord(fields, stranger));
      for (const request of [admission.bytes, this.hand.pick(this.records)]) {
        const nonce = randomInt(this.random, 2 ** 32);
        const datagram = new ByteWriter().u32(nonce).raw(request).done();
        network.sendDatagram(this.host.number, target.number, 'join-request', datagram);
      }
    }
  }

  /** Who it is, for those who look on. */
  get id(): HostId {
    return this.host.id;
  }

  get hasStruck(): boolean {
    return this.strikes > 0;
  }
}
