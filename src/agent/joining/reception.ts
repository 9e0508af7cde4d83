/**
 * Where strangers are received: who asks to be let in, and who says that it was let in long ago. What they bring is
 * judged and goes into the replica like every other record; only who asks is answered. Pure.
 */
import { Fault, type HostId, type Millis, type Signer, type Verify } from '../../core.ts';
import type { Gossip } from '../../gossip/gossip.ts';
import type { GossipEffect } from '../../gossip/port.ts';
import { decodeRecord } from '../../gossip/replica/codec.ts';
import type { Record } from '../../gossip/replica/record.ts';
import { signWelcome } from '../../trust/admission/welcome.ts';
import type { TrustState } from '../../trust/state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { AgentEffect } from '../effects.ts';
import { shortId } from '../kinds.ts';
import { decodeIntroduction, judgeIntroduction } from './introduction.ts';
import { encodeJoinAnswer, type JoinAnswer } from './joining.ts';
import { judgeJoinRequest, refusalOf, refuseUnlessTaken } from './sponsor.ts';

export interface ReceptionOptions {
  readonly signer: Signer;
  readonly verify: Verify;
  readonly catalog: Catalog;
  readonly trust: TrustState;
  readonly gossip: Gossip;
  /** Takes over what the gossip machine made of a record. */
  readonly gossiped: (effects: readonly GossipEffect[], now: Millis) => void;
  readonly emit: (...effects: readonly AgentEffect[]) => void;
}

/** Datagrams, all since start. */
export interface IntroductionCounters {
  /** Of hosts that are admitted here by that. */
  taken: number;
  /** Of hosts that are admitted here already. */
  known: number;
  refused: number;
}

export class Reception {
  readonly introductions: IntroductionCounters = { taken: 0, known: 0, refused: 0 };
  private readonly options: ReceptionOptions;

  constructor(options: ReceptionOptions) {
    this.options = options;
  }

  /** Lets a stranger in, or says why not, once that is durable. */
  request(exchange: number, bytes: Uint8Array, now: Millis): void {
    const { signer, verify, catalog, trust, gossip, gossiped, emit } = this.options;
    const reply = (answer: JoinAnswer) =>
      ({ type: 'join-reply', exchange, bytes: encodeJoinAnswer(answer) }) as const;
    try {
      judgeJoinRequest(bytes, trust, verify, (host) => catalog.isGone(host), now);
      const { outcome, effects } = gossip.offer(bytes, now);
      const passing = effects.filter(({ type }) => type !== 'persist');
      gossiped(passing, now);
      refuseUnlessTaken(outcome);
      const { author: host, value: admission } = decodeRecord(bytes);
      const { hash: genesisHash, bytes: genesis } = trust.genesis;
      const signature = signWelcome({ genesisHash, host, admission }, signer);
      const welcome = reply({ outcome: 'welcome', sponsor: signer.publicKey, genesis, signature });
      // The welcome says that the admission is durable here.
      const ops = effects.flatMap((effect) => (effect.type === 'persist' ? effect.ops : []));
      emit({ type: 'persist', ops, sync: true, then: [welcome] });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      emit(reply(refusalOf(error, bytes, gossip.replica)));
    }
  }

  /**
   * Takes in a host that joined while this one was away; nobody is answered. Of one that is known already it may be
   * where it is that is not, or not any more.
   */
  introduced(bytes: Uint8Array, now: Millis): void {
    const { trust, verify } = this.options;
    try {
      const introduction = decodeIntroduction(bytes);
      const { host, records, where, welcome } = introduction;
      if (trust.isAdmitted(host)) {
        this.introductions.known++;
        // The sponsor that it names was not judged: nobody but the host itself can be charged.
        if (where !== null) this.takeIn([where], host, now);
        return;
      }
      judgeIntroduction(introduction, trust, verify);
      this.takeIn(records, welcome.sponsor, now);
      if (!trust.isAdmitted(host)) throw new Fault('not-taken', 'its admission is not in force here');
      this.introductions.taken++;
      const fields = { id: shortId(host), sponsor: shortId(welcome.sponsor) };
      this.options.emit({ type: 'log', level: 'info', event: 'host-introduced', fields });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.introductions.refused++;
      const fields = { code: error.code, detail: error.message };
      this.options.emit({ type: 'log', level: 'debug', event: 'introduction-refused', fields });
    }
  }

  /** As far as they are good: what comes after one that is refused rests on it. A refusal is charged to `sponsor`. */
  private takeIn(records: readonly Record[], sponsor: HostId, now: Millis): void {
    const { gossip, gossiped } = this.options;
    for (const { bytes } of records) {
      const { outcome, effects } = gossip.offer(bytes, now, { sponsor });
      gossiped(effects, now);
      if (typeof outcome !== 'string') return;
    }
  }
}
