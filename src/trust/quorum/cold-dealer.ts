/**
 * The holder of an epoch's cold seats: looks whether the shares that were sealed for it are there, and deals them
 * out in a recovery. Runs where its key is, which is on no agent, and once it has dealt it is needed no more.
 */
import { Fault, type HostId, type Signer } from '../../core.ts';
import type { EpochDescriptor, EpochPlan } from '../epoch/descriptor.ts';
import { sessionOf } from '../epoch/descriptor.ts';
import type { RecoveryOrder } from '../epoch/recovery.ts';
import { checkSuccession } from '../epoch/rules.ts';
import { recoveryStatement } from '../epoch/voucher.ts';
import type { Ceremony } from '../frost/ceremony.ts';
import { openColdShares } from '../frost/cold.ts';
import { deal, dealingEntropyBytes, encodeShare } from '../frost/dealing.ts';
import { encodeEnvelope, type MessageType, signEnvelope } from '../frost/envelope.ts';
import { type Agree, agreementEntropyBytes, sealFor } from '../frost/key-agreement.ts';
import type { KeyShare } from '../frost/keys.ts';
import type { Seat } from '../frost/polynomial.ts';
import { ceremonyNameDigits, ceremonyOf } from './dealing-run.ts';
import { coldBlocksOf, groupOfEpoch } from './epoch-group.ts';

/** The key of the cold seats, as it is used. */
export interface ColdKey {
  readonly signer: Signer;
  readonly agree: Agree;
}

/**
 * The shares of the cold seats of `epoch`: fewer than sign, so that nothing can be done with them alone. Throws
 * `Fault`: `no-cold-seats`; `other-recovery-key`, where they are sealed for another; `cold-share-wrong`.
 */
export function openColdSeats(epoch: EpochDescriptor, key: ColdKey): readonly KeyShare[] {
  const { cold } = epoch.plan;
  if (cold === null) throw new Fault('no-cold-seats', `no shares of epoch ${epoch.plan.epoch} are sealed`);
  if (cold.key !== key.signer.publicKey)
    throw new Fault('other-recovery-key', `the shares are sealed for the key ${cold.key.slice(0, 8)}`);
  // Shares are sealed in the session that dealt them.
  const session = epoch.session.slice(0, ceremonyNameDigits);
  return openColdShares(groupOfEpoch(epoch), coldBlocksOf(epoch), session, key.agree);
}

export interface RecoveryTerms {
  readonly trustDomain: string;
  /** In force where too few trustees are left. */
  readonly epoch: EpochDescriptor;
  readonly plan: EpochPlan;
  readonly key: ColdKey;
  /** As many fresh random bytes, which are overwritten. */
  readonly entropy: (bytes: number) => Uint8Array;
}

/** Deals for the cold seats by `plan`. Throws `Fault`: `not-a-successor`, and as `openColdSeats`. */
export function dealForRecovery({ trustDomain, epoch, plan, key, entropy }: RecoveryTerms): RecoveryOrder {
  if (plan.kind !== 'recover') throw new Fault('not-a-successor', 'this is no recovery');
  checkSuccession(plan, epoch);
  const id = sessionOf(plan);
  const group = groupOfEpoch(epoch);
  const session = { kind: 'reshare', id, plan, from: epoch, share: null, coldDealing: null } as const;
  const ceremony = ceremonyOf(session, group, trustDomain);
  const shares = openColdSeats(epoch, key).slice(0, plan.coldDealt);
  const seat = shares[0]!.seat;
  const random = entropy(dealingEntropyBytes(ceremony));
  const dealt = deal(ceremony, seat, shares, random);
  random.fill(0);
  const { receivers } = ceremony.terms;
  const sealedFor = (host: HostId, receiver: Seat): Uint8Array => {
    const message = signed(ceremony, key, 'share', seat, receiver, encodeShare(dealt, receiver));
    return sealFor(host, message, entropy(agreementEntropyBytes));
  };
  return {
    plan,
    signature: key.signer.sign(recoveryStatement(plan)),
    dealing: signed(ceremony, key, 'dealing', seat, 0, dealt.payload),
    shares: new Map(receivers.map((receiver) => [receiver.host, sealedFor(receiver.host, receiver.seat)])),
  };
}

function signed(
  ceremony: Ceremony,
  { signer }: ColdKey,
  type: MessageType,
  from: Seat,
  to: Seat,
  payload: Uint8Array,
): Uint8Array {
  return encodeEnvelope(ceremony, signEnvelope(ceremony, signer, { type, from, to, payload }));
}
