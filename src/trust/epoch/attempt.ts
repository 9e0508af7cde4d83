/** A ballot that this host leads: how far it has come, and what it asks of whom. Data, and a function of it. */
import type { HostId, Millis } from '../../core.ts';
import type { ColdPlan, EpochDescriptor, EpochKind, EpochPlan } from './descriptor.ts';
import type { Electorate, Justification, Lock } from './electorate.ts';
import type { EpochMessage } from './message.ts';
import type { Seats } from './selection.ts';
import type { Voucher } from './voucher.ts';

type Refused = Extract<EpochMessage, { type: 'refused' }>;

/** A message and whom it is for. */
export interface Post {
  readonly to: HostId;
  readonly message: EpochMessage;
}

/** What to make of a ballot that is free. */
export interface Design extends Seats {
  readonly kind: EpochKind;
  readonly cold: ColdPlan | null;
  /** Leaves out somebody for what this host saw itself: others may not have seen it. */
  readonly passesOver: boolean;
}

export type Phase =
  | {
      readonly name: 'prepare';
      readonly promises: Map<HostId, Voucher>;
      lock: Lock | null;
      /** For those that did not promise although they shall deal, while the others hold for this leader. */
      hasWaited: boolean;
    }
  | {
      readonly name: 'deal';
      readonly plan: EpochPlan;
      readonly session: string;
      readonly justification: Justification;
      readonly acks: Map<HostId, { readonly voucher: Voucher; readonly descriptor: EpochDescriptor }>;
      /** When to go on with the shares there are. */
      enoughAt: Millis | null;
    }
  | {
      readonly name: 'vote';
      readonly descriptor: EpochDescriptor;
      readonly justification: Justification;
      readonly acks: readonly Voucher[];
      readonly votes: Map<HostId, Voucher>;
    }
  | { readonly name: 'accept'; readonly lock: Lock; readonly accepted: Map<HostId, Voucher> }
  | { readonly name: 'sign'; readonly descriptor: EpochDescriptor; readonly accepted: readonly Voucher[] };

export type PhaseOf<N extends Phase['name']> = Extract<Phase, { name: N }>;

export interface Attempt {
  readonly ballot: number;
  phase: Phase;
  deadline: Millis;
  resendAt: Millis;
  /** Who will not go along in this phase. */
  readonly refusals: Map<HostId, Refused>;
  /** Of what is dealt for. */
  passesOver: boolean;
  /** Until when those that promised follow nobody else, safely. */
  readonly heldUntil: Millis;
  /** How often it may go higher yet. */
  readonly raises: number;
  /** When to go higher, as some have promised more than this ballot. */
  raiseAt: Millis | null;
}

/**
 * What this phase asks, for those who have not answered. In a dealing that is `late` all are asked: who has told that
 * it holds its share knows who else told so, perhaps not to this host.
 */
export function questionsOf(
  { phase, ballot }: Attempt,
  { epoch, members }: Electorate,
  late: boolean,
): Post[] {
  const ask = (hosts: readonly HostId[], message: EpochMessage): Post[] =>
    hosts.map((to) => ({ to, message }));
  switch (phase.name) {
    case 'prepare':
      return ask(
        members.filter((host) => !phase.promises.has(host)),
        { type: 'prepare', epoch, ballot },
      );
    case 'deal': {
      const { plan, justification, acks } = phase;
      const participants = new Set([...plan.dealers, ...plan.trustees]);
      return ask(
        [...participants].filter((host) => late || !acks.has(host)),
        { type: 'start', epoch, plan, justification },
      );
    }
    case 'vote': {
      const { descriptor, justification, acks, votes } = phase;
      return ask(
        members.filter((host) => !votes.has(host)),
        { type: 'propose', epoch, ballot, descriptor, justification, acks },
      );
    }
    case 'accept':
      return ask(
        members.filter((host) => !phase.accepted.has(host)),
        { type: 'accept', epoch, lock: phase.lock },
      );
    case 'sign':
      return ask(members, {
        type: 'sign',
        epoch,
        descriptor: phase.descriptor,
        accepted: phase.accepted,
      });
  }
}
