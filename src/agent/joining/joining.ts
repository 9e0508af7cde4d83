/**
 * What a joiner and its sponsor say to each other before there is a connection. The request is the joiner's
 * signed `admission` record; the answer is the genesis, which the joiner checks against its token's hash, or
 * why not. Nothing in either is secret, and nothing in the answer is believed unchecked.
 */
import { ByteReader, ByteWriter, Fault, type HostId, type Millis, type Signer } from '../../core.ts';
import { encodeRecord } from '../../gossip/replica/codec.ts';
import { createAdmission, encodeAdmission } from '../../trust/admission/admission.ts';
import type { JoinToken } from '../../trust/admission/token.ts';
import { ADMISSION } from '../kinds.ts';

export type JoinAnswer =
  | {
      readonly outcome: 'welcome';
      readonly sponsor: HostId;
      readonly genesis: Uint8Array;
      /** What the joiner shows to those who were away: see `signWelcome`. Hex. */
      readonly signature: string;
    }
  | {
      readonly outcome: 'refused';
      readonly code: string;
      readonly message: string;
      /** The operator's signed record against a host that was denied. */
      readonly denial?: Uint8Array;
    };

const version = 1;
const maxCodeBytes = 64;
const maxMessageBytes = 400;
const maxGenesisBytes = 8192;
/** A reply is no longer than the shortest request. Longer denials, of reasons in a script of many bytes, are left out. */
export const maxDenialBytes = 1000;
const codePattern = /^[a-z0-9-]+$/;

export interface JoinAttempt {
  readonly name: string;
  readonly hostKey: Signer;
  readonly token: JoinToken;
}

/**
 * What a joiner sends: its own admission, proven with the token's secret. It outranks that of a process before
 * this one whose welcome was lost, and everything the agent itself writes, whose versions begin at 2^32,
 * outranks it.
 */
export function joinRequest({ name, hostKey, token }: JoinAttempt, now: Millis): Uint8Array {
  const { genesisHash, grantId } = token;
  const admittedAt = Math.floor(now);
  const request = { genesisHash, name, host: hostKey.publicKey, grantId, admittedAt };
  const value = encodeAdmission(createAdmission(request, token.grantSigner()));
  const hlc = admittedAt * 1024;
  const version = Math.floor(now / 1000);
  return encodeRecord({ scope: 'host', kind: ADMISSION, key: '', version, hlc, value }, hostKey).bytes;
}

export function encodeJoinAnswer(answer: JoinAnswer): Uint8Array {
  const writer = new ByteWriter().u8(version);
  if (answer.outcome === 'welcome')
    return writer.u8(1).hex(answer.sponsor).bytes(answer.genesis).hex(answer.signature).done();
  const { code, message, denial } = answer;
  writer
    .u8(denial === undefined ? 2 : 3)
    .string(code.slice(0, maxCodeBytes))
    .string(Buffer.from(message).subarray(0, maxMessageBytes).toString());
  return denial === undefined ? writer.done() : writer.bytes(denial).done();
}

/** Throws `Fault('malformed')` for anything that is not an answer. */
export function decodeJoinAnswer(bytes: Uint8Array): JoinAnswer {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== version) throw new Fault('malformed', 'an answer of another version');
  const outcome = reader.u8();
  if (outcome === 1) {
    const sponsor = reader.hex(32);
    const genesis = Uint8Array.from(reader.bytes(maxGenesisBytes));
    const signature = reader.hex(64);
    reader.end();
    return { outcome: 'welcome', sponsor, genesis, signature };
  }
  if (outcome !== 2 && outcome !== 3) throw new Fault('malformed', 'an answer of unknown kind');
  const code = reader.string(maxCodeBytes);
  if (!codePattern.test(code)) throw new Fault('malformed', 'a refusal without a code');
  const message = reader.string(maxMessageBytes * 3);
  const denial = outcome === 3 ? { denial: Uint8Array.from(reader.bytes(maxDenialBytes)) } : {};
  reader.end();
  return { outcome: 'refused', code, message, ...denial };
}
