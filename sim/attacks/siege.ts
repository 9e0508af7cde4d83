/**
 * An admitted host that says what any may say without measure, or nothing at all: keys without end, records and
 * frames as large and as deep as can be, frames by the hundred, silence. It may use up its own room and its own
 * allowance, and nobody else's.
 */
import { open, seal } from '../../src/agent/envelope.ts';
import { ADMISSION, CONFIG_ENTRY, HOST } from '../../src/agent/kinds.ts';
import { ByteWriter, encodeJson, Fault, randomInt } from '../../src/core.ts';
import { encodeFrame, needsStream } from '../../src/gossip/framecodec.ts';
import { encodeRecord, type RecordFields } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import type { Host } from '../host/host.ts';
import { drawSigner } from '../host/keys.ts';
import type { Siege } from '../plan.ts';
import { drawAbsurdDelta, drawBomb, drawFullFrame, drawHollowFrame, oversizedRecord } from './bombs.ts';
import type { Hand } from './hand.ts';

/** In the twenty blows of one burst more records, or more bytes, than an author's share has room for. */
const smallPerBlow = 512;
const largePerBlow = 30;
const largeBytes = 31 * 1024;
/** As many as a delta has room for. */
const smallPerDelta = 256;
const largePerDelta = 2;
/** Records in one blow, which go to all, and frames, each to one. */
const bombsPerBlow = 3;
/** Frames of each sort in one blow of a flood. */
const floodPerSort = 50;
const strangersPerBlow = 15;
const stonewallMs = 20_000;

export class Besieger {
  private readonly hand: Hand;
  /** What passes by, for a flood to repeat; somebody else adds to it. */
  private readonly overheard: readonly Uint8Array[];
  /** Whether it fills its share by bytes rather than by number. */
  private readonly isHeavy: boolean;
  /** Whom it floods: the same one as long as that runs. */
  private victim: Host | null = null;
  private written = 0;
  /** The last that it signed. */
  private version = 0;
  /** Where its host is, as its agent said. */
  private truth: Uint8Array | null = null;
  private stonewallsUntil = Number.NEGATIVE_INFINITY;

  constructor(hand: Hand, overheard: readonly Uint8Array[]) {
    this.hand = hand;
    this.overheard = overheard;
    this.isHeavy = hand.random.next() < 0.3;
  }

  /** From now on, for a while, its agent takes part in membership and tells nobody of any record. */
  stonewall(): void {
    const { field, host } = this.hand;
    this.stonewallsUntil = field.world.now + stonewallMs;
    field.pubsub.silence(host.number, this.stonewallsUntil);
  }

  /** Whether it keeps back a frame of its agent: one of anti-entropy, while it stonewalls. */
  keepsBack(frame: Uint8Array): boolean {
    if (this.hand.field.world.now >= this.stonewallsUntil) return false;
    try {
      const { room, payload } = open(frame);
      return room === 'gossip' && needsStream(payload);
    } catch (error) {
      // Another attack's garbage.
      if (!(error instanceof Fault)) throw error;
      return false;
    }
  }

  deal(how: Exclude<Siege, 'stonewall'>): void {
    switch (how) {
      case 'many-keys':
        this.fillShare();
        break;
      case 'bombs':
        this.throwBombs();
        break;
      case 'flood':
        this.flood();
        break;
    }
  }

  /** Records in slots that are new every time. */
  private fillShare(): void {
    this.climb();
    const value = this.isHeavy ? new Uint8Array(largeBytes).fill(32) : encodeJson({ more: true });
    const records = Array.from(
      { length: this.isHeavy ? largePerBlow : smallPerBlow },
      () => this.sign({ key: `more-${this.written++}`, value }).bytes,
    );
    const perDelta = this.isHeavy ? largePerDelta : smallPerDelta;
    for (let start = 0; start < records.length; start += perDelta)
      this.hand.scatter(encodeDelta(records.slice(start, start + perDelta)));
  }

  /** What may be said is said, as much as fits; what may not is said, too. */
  private throwBombs(): void {
    const { random, field, host } = this.hand;
    this.climb();
    // Who is nowhere to be found any more has harmed nobody but itself.
    this.truth ??= host.agent!.record(`host/${host.id}/${HOST}/`)!.value;
    for (let i = 0; i < bombsPerBlow; i++) {
      const bomb = drawBomb(random);
      const { bytes } = this.sign(bomb);
      const large = oversizedRecord(host.signer, ++this.version, host.now * 1024, random);
      for (const delta of [encodeDelta([bytes]), drawAbsurdDelta(bytes, random), encodeDelta([large])])
        this.hand.scatter(delta);
      // Not its to say, whatever it is.
      for (const forbidden of [
        { kind: ADMISSION, key: '' },
        { kind: CONFIG_ENTRY, scope: 'policy' } as const,
      ])
        this.hand.publish([field.forgeries.noted(this.sign({ ...bomb, ...forbidden })).bytes]);
      if (bomb.kind === HOST)
        this.hand.publish([this.sign({ kind: HOST, key: '', value: this.truth }).bytes]);
      this.bombard(this.hand.pickOf(this.hand.others()), bytes);
    }
  }

  /** Within a session that it opens, and outside of any. */
  private bombard(target: Host, record: Uint8Array): void {
    const { random } = this.hand;
    const session = randomInt(random, 2 ** 32);
    if (random.next() < 0.5) this.hand.toStream(target, { type: 'sync-open', session, buckets: null });
    const full = encodeFrame(drawFullFrame(session, record, random));
    for (const bytes of [full, drawHollowFrame(session, random)])
      if (random.next() < 0.2) this.hand.toPort(target, bytes);
      else this.hand.toTarget(target, seal('gossip', bytes));
  }

  /** Hundreds of frames of every sort at one host at once, most of them such as any member may send. */
  private flood(): void {
    const victim = this.victimNow();
    if (victim === null) return;
    const { random } = this.hand;
    const others = this.hand.others();
    for (let i = 0; i < floodPerSort; i++) {
      const session = randomInt(random, 2 ** 32);
      const { id: target } = this.hand.pickOf(others);
      const incarnation = this.hand.incarnationOf(victim);
      this.hand.replay(victim, this.hand.pick(this.overheard));
      this.hand.toSwim(victim, this.hand.ping('alive', incarnation));
      this.hand.toSwim(victim, { type: 'corroborate', target, incarnation: 0, rumors: [] });
      this.hand.toSwim(victim, { type: 'ping-req', sequence: session, target, urgent: true, rumors: [] });
      this.hand.toStream(victim, { type: 'sync-open', session, buckets: null });
      this.hand.toStream(victim, { type: 'sync-want', session, slots: [] });
    }
    for (let i = 0; i < strangersPerBlow; i++) this.knock(victim, `stranger-${i}`);
  }

  private victimNow(): Host | null {
    if (this.victim?.isRunning !== true) {
      const others = this.hand.others();
      this.victim = others.length === 0 ? null : this.hand.pickOf(others);
    }
    return this.victim;
  }

  /** Asks to let in a host that no grant covers, of a key that was made up for it. */
  private knock(victim: Host, name: string): void {
    const { random, field, host } = this.hand;
    const value = encodeJson({ grantId: 'ab'.repeat(8), name, founder: false });
    const fields = this.hand.fieldsOf({ kind: ADMISSION, key: '', version: 1, value });
    const { bytes } = field.forgeries.noted(encodeRecord(fields, drawSigner(random)));
    const datagram = new ByteWriter()
      .u32(randomInt(random, 2 ** 32))
      .raw(bytes)
      .done();
    field.network.sendDatagram(host.number, victim.number, 'join-request', datagram);
  }

  /** Above all that its agent wrote, so that what it puts into a slot wins. */
  private climb(): void {
    this.version = Math.max(this.version, this.hand.versionBase());
  }

  private sign(some: Partial<RecordFields>): Record {
    const hlc = this.hand.host.now * 1024;
    const version = ++this.version;
    const fields = { scope: 'host', kind: 'note', key: 'note', version, hlc, value: null, ...some } as const;
    return encodeRecord(fields, this.hand.host.signer);
  }
}
