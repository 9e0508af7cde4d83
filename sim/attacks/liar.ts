/**
 * A trustee in the hands of somebody else: it deals wrongly, signs wrongly, says two things or nothing. It has
 * its own key and its own share, so all it says is well signed; only what it says is not so.
 */
import { open, seal } from '../../src/agent/envelope.ts';
import {
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../../src/core.ts';
import { Acceptor, freshAcceptor } from '../../src/trust/epoch/acceptor.ts';
import type { EpochDescriptor } from '../../src/trust/epoch/descriptor.ts';
import { Electorate } from '../../src/trust/epoch/electorate.ts';
import { decodeMessage, type EpochMessage, encodeMessage } from '../../src/trust/epoch/message.ts';
import { defaultTimings } from '../../src/trust/epoch/port.ts';
import { type MessageType, messageTypes } from '../../src/trust/frost/envelope.ts';
import type { EngineInput } from '../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { decodeSigningMessage, encodeSigningMessage } from '../../src/trust/quorum/signing-message.ts';
import type { Lie } from '../plan.ts';

type Engine = Machine<EngineInput, EngineReport>;
type Send = Extract<EngineReport, { type: 'send' }>;

/** Where the envelope of a ceremony says what is in it. */
const typeAt = 32;

function typeOf(bytes: Uint8Array): MessageType | undefined {
  return messageTypes[bytes[typeAt]! - 1];
}

export interface LiarOptions {
  readonly lies: readonly Lie[];
  readonly random: Random;
  /** While it plays along, to be given a seat that one liar may have without harm. */
  readonly isLying: () => boolean;
}

/** One liar may be among so many: any two quorums share an honest trustee. */
export function survivesOneLiar({ plan }: EpochDescriptor): boolean {
  return 2 * plan.threshold - plan.trustees.length > 1;
}

/** An engine that changes what the real one says; `twin` is another with the same shares and other randomness. */
export class LyingEngine implements Engine {
  private readonly real: Engine;
  private readonly twin: Engine;
  private readonly options: LiarOptions;
  /** The kinds of the messages that each session carries: only a coordinator reads those of a signature. */
  private readonly signatures = new Set<string>();

  constructor(real: Engine, twin: Engine, options: LiarOptions) {
    this.real = real;
    this.twin = twin;
    this.options = options;
  }

  nextWake(): Millis | null {
    return this.real.nextWake();
  }

  step(input: EngineInput, now: Millis): readonly EngineReport[] {
    if (input.type === 'begin' && input.session.kind === 'sign') this.signatures.add(input.session.id);
    if (this.options.isLying() && this.isDeafTo(input)) return [];
    const reports = this.real.step(input, now);
    const others = input.type === 'wake' ? [] : this.twin.step(input, now);
    return this.options.isLying() ? reports.flatMap((report) => this.tampered(report, others)) : reports;
  }

  private isDeafTo(input: EngineInput): boolean {
    if (input.type !== 'deliver' || this.signatures.has(input.session)) return false;
    const type = typeOf(input.bytes);
    return this.options.lies.includes('deaf-dealing') && (type === 'share' || type === 'answer');
  }

  private tampered(report: EngineReport, others: readonly EngineReport[]): readonly EngineReport[] {
    switch (report.type) {
      case 'offered':
        return this.tells('withheld-answers') ? [] : [report];
      case 'contributed':
        if (this.tells('withheld-answers')) return [];
        return [this.tells('wrong-shares') ? { ...report, share: flipped(report.share) } : report];
      case 'send':
        return this.signatures.has(report.session)
          ? this.inSignature(report)
          : this.inDealing(report, others);
      default:
        return [report];
    }
  }

  private inSignature(send: Send): readonly EngineReport[] {
    if (this.tells('withheld-answers')) return [];
    const message = decodeSigningMessage(send.bytes);
    if (message.type !== 'share' || !this.tells('wrong-shares')) return [send];
    return [{ ...send, bytes: encodeSigningMessage({ ...message, bytes: flipped(message.bytes) }) }];
  }

  /** Some receivers get what belongs to another dealing of its own. */
  private inDealing(send: Send, others: readonly EngineReport[]): readonly EngineReport[] {
    const type = typeOf(send.bytes);
    if (this.keepsBack(send.to, type) || this.tells('withheld-answers')) return [];
    const isToldWrong =
      (type === 'dealing' && this.tells('two-dealings')) ||
      (type === 'share' && this.tells('wrong-dealings'));
    const other = others.find(
      (said) => said.type === 'send' && said.to === send.to && typeOf(said.bytes) === type,
    );
    return [isToldWrong ? (other ?? send) : send];
  }

  private keepsBack(to: HostId, type: MessageType | undefined): boolean {
    const { lies } = this.options;
    if (lies.includes('silent-dealing')) return true;
    if (lies.includes('withheld-shares') && type === 'answer') return true;
    return (
      isSlighted(to) &&
      (lies.includes('partial-dealing') || (lies.includes('withheld-shares') && type === 'share'))
    );
  }

  /** Half of the time, so that nobody can rely on either. */
  private tells(lie: Lie): boolean {
    return this.options.lies.includes(lie) && this.options.random.next() < 0.5;
  }
}

/** About half of all hosts, and always the same. */
function isSlighted(host: HostId): boolean {
  return Number.parseInt(host.slice(0, 2), 16) % 2 === 0;
}

/** One bit further: still a number, and the wrong one. */
function flipped(share: Uint8Array): Uint8Array {
  return share.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
}

/** Whether whoever tells these lies keeps a frame to itself that the others wait for. */
export function isKeptBack(frame: Uint8Array, lies: readonly Lie[]): boolean {
  if (!lies.includes('silent-agreement') && !lies.includes('withheld-acks')) return false;
  const { room, payload } = open(frame);
  if (room !== 'epoch') return false;
  const { type } = decodeMessage(payload);
  // As a leader it would not wait for itself.
  if (lies.includes('withheld-acks') && (type === 'ack' || type === 'prepare')) return true;
  return lies.includes('silent-agreement') && type !== 'ask' && type !== 'records';
}

/** What somebody who is asked for its word answers if it has forgotten all that it ever said. */
export function forgetfulAnswer(
  frame: Uint8Array,
  from: string,
  epoch: EpochDescriptor,
  signer: Signer,
  verify: Verify,
  now: Millis,
): Uint8Array | null {
  try {
    const { room, payload } = open(frame);
    if (room !== 'epoch') return null;
    const electorate = new Electorate(epoch, verify);
    const question = decodeMessage(payload);
    if (question.epoch !== electorate.epoch) return null;
    const state = freshAcceptor(electorate.epoch);
    const answer = wordOf(new Acceptor(electorate, signer, defaultTimings, state), question, from, now);
    return answer === null ? null : seal('epoch', encodeMessage(answer));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return null;
  }
}

function wordOf(acceptor: Acceptor, question: EpochMessage, from: string, now: Millis): EpochMessage | null {
  switch (question.type) {
    case 'prepare':
      return acceptor.prepare(from, question, true, now);
    case 'propose':
      return acceptor.propose(from, question, () => undefined, now);
    case 'accept':
      return acceptor.accept(from, question);
    default:
      return null;
  }
}
