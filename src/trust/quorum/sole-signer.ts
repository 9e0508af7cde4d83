/**
 * Stands in for the coordinator of a threshold signature where one host holds the key whole, as the founder
 * does in epoch 0: the same two rounds, and the share is the signature.
 */
import { ed25519Verify, Fault, type HostId, type Machine, type Millis, unreachable } from '../../core.ts';
import type { CoordinatorEffect, CoordinatorInput, ExclusionReason } from '../frost/coordinator.ts';
import type { Seat } from '../frost/polynomial.ts';

const seat: Seat = 1;
const attempt = 1;

export class SoleSigner implements Machine<CoordinatorInput, CoordinatorEffect> {
  private readonly publicKey: HostId;
  private readonly message: Uint8Array;
  private readonly answerWithinMs: Millis;
  private phase: 'ask' | 'sign' | 'over' = 'ask';
  private deadline: Millis | null = null;

  constructor(publicKey: HostId, message: Uint8Array, answerWithinMs: Millis) {
    this.publicKey = publicKey;
    this.message = message;
    this.answerWithinMs = answerWithinMs;
  }

  nextWake(): Millis | null {
    return this.deadline;
  }

  step(input: CoordinatorInput, now: Millis): readonly CoordinatorEffect[] {
    if (this.phase === 'over') return [];
    switch (input.type) {
      case 'start':
        this.deadline = now + this.answerWithinMs;
        return [{ type: 'ask', seat, attempt }];
      case 'commitment': {
        if (this.phase !== 'ask') return [];
        this.phase = 'sign';
        this.deadline = now + this.answerWithinMs;
        const { nonceId } = input;
        return [{ type: 'request-share', seat, attempt, nonceId, commitments: new Uint8Array() }];
      }
      case 'share':
        return this.phase === 'sign' ? this.takeSignature(input.bytes) : [];
      case 'refused':
        return this.fail('refused');
      case 'wake':
        return this.deadline !== null && now >= this.deadline ? this.fail('silent') : [];
      default:
        return unreachable(input);
    }
  }

  private takeSignature(signature: Uint8Array): readonly CoordinatorEffect[] {
    if (!ed25519Verify(this.publicKey, this.message, signature)) return this.fail('bad-share');
    this.end();
    return [{ type: 'signed', signature }];
  }

  private fail(reason: ExclusionReason): readonly CoordinatorEffect[] {
    this.end();
    const fault = new Fault('quorum-lost', 'one host holds the key, and it does not sign');
    return [
      { type: 'excluded', seat, reason },
      { type: 'failed', fault },
    ];
  }

  private end(): void {
    this.phase = 'over';
    this.deadline = null;
  }
}
