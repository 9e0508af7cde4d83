/** What trustees say to one another about epochs, and its encoding. */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import type { ColdDealing } from './crypto-port.ts';
import {
  decodeDescriptor,
  decodePlan,
  type EpochDescriptor,
  type EpochPlan,
  encodePlan,
  maxBallot,
  maxDescriptorBytes,
} from './descriptor.ts';
import type { Justification, Lock } from './electorate.ts';
import { maxRecordBytes } from './record.ts';
import { readVoucher, readVouchers, type Voucher, writeVoucher, writeVouchers } from './voucher.ts';

/** `epoch` is always the epoch to be made, but in `ask`: the latest that the asker knows. */
export type EpochMessage =
  /** Follow my ballot. */
  | { readonly type: 'prepare'; readonly epoch: number; readonly ballot: number }
  /** I do; with proof of what I accepted before, if anything. */
  | {
      readonly type: 'promise';
      readonly epoch: number;
      readonly voucher: Voucher;
      readonly lock: Lock | null;
    }
  /** I do not, in which ballot I am, and when to ask again. */
  | {
      readonly type: 'refused';
      readonly epoch: number;
      readonly ballot: number;
      readonly code: string;
      readonly promised: number;
      readonly retryAfterMs: number;
    }
  /** Make shares by this plan. */
  | {
      readonly type: 'start';
      readonly epoch: number;
      readonly plan: EpochPlan;
      readonly justification: Justification;
    }
  /** To oneself: that this host takes part in the session is durable. */
  | { readonly type: 'ready'; readonly epoch: number; readonly session: string }
  /** My share is durable; this is the epoch it is for. */
  | {
      readonly type: 'ack';
      readonly epoch: number;
      readonly voucher: Voucher;
      readonly descriptor: EpochDescriptor;
    }
  /** Vote for this value of my ballot. */
  | {
      readonly type: 'propose';
      readonly epoch: number;
      readonly ballot: number;
      readonly descriptor: EpochDescriptor;
      readonly justification: Justification;
      readonly acks: readonly Voucher[];
    }
  | { readonly type: 'vote'; readonly epoch: number; readonly voucher: Voucher }
  /** Accept it: here are the votes. */
  | { readonly type: 'accept'; readonly epoch: number; readonly lock: Lock }
  | { readonly type: 'accepted'; readonly epoch: number; readonly voucher: Voucher }
  /** It is decided: here are the acceptances. Sign it with the root. */
  | {
      readonly type: 'sign';
      readonly epoch: number;
      readonly descriptor: EpochDescriptor;
      readonly accepted: readonly Voucher[];
    }
  /** One message of a session of the cryptography, in its order among those to the same host. */
  | {
      readonly type: 'relay';
      readonly epoch: number;
      readonly session: string;
      readonly sequence: number;
      readonly bytes: Uint8Array;
    }
  /** How many messages of the session have arrived here from you. */
  | { readonly type: 'relayed'; readonly epoch: number; readonly session: string; readonly count: number }
  /** Which epochs are there after this one? */
  | { readonly type: 'ask'; readonly epoch: number }
  /** Epoch records, oldest first, that lead to the latest. */
  | { readonly type: 'records'; readonly epoch: number; readonly records: readonly Uint8Array[] }
  /** My ballot came to nothing: follow another. */
  | { readonly type: 'released'; readonly epoch: number; readonly ballot: number }
  /** Move the key to these hosts, too few trustees are left: see `Recovery`. With what the cold seats deal to you. */
  | {
      readonly type: 'recover';
      readonly epoch: number;
      readonly plan: EpochPlan;
      readonly signature: Uint8Array;
      readonly coldDealing: ColdDealing;
    }
  /** My share of the recovered epoch is durable. */
  | {
      readonly type: 'recovered';
      readonly epoch: number;
      readonly voucher: Voucher;
      readonly descriptor: EpochDescriptor;
    }
  /** Enough have their shares of it: sign it with yours. */
  | {
      readonly type: 'certify';
      readonly epoch: number;
      readonly descriptor: EpochDescriptor;
      readonly acks: readonly Voucher[];
    }
  /** To oneself: what was to be kept is durable up to this write of this host's present life. */
  | { readonly type: 'written'; readonly epoch: number; readonly write: number };

export type EpochMessageType = EpochMessage['type'];

const format = 1;
const types: readonly EpochMessageType[] = [
  'prepare',
  'promise',
  'refused',
  'start',
  'ready',
  'ack',
  'propose',
  'vote',
  'accept',
  'accepted',
  'sign',
  'relay',
  'relayed',
  'ask',
  'records',
  'released',
  'written',
  'recover',
  'recovered',
  'certify',
];

/** The largest message of the cryptography: a round of key generation, or of a complaint with its evidence. */
export const maxRelayBytes: number = 16 * 1024;
/** Messages one host may send another in one session: all that thirteen trustees claim, answer and pass on, twice. */
export const maxRelaySequence = 512;
/** Records in one answer; who needs more asks again. */
export const maxRecordsPerAnswer = 8;
/** A whole message: the largest are an answer full of records, and a proposal. */
export const maxEpochMessageBytes: number = maxRecordsPerAnswer * maxRecordBytes + 1024;
const maxCodeBytes = 64;
const signatureBytes = 64;
/** What the holder of cold seats deals: commitments with what is sealed to cold seats, and one sealed share. */
export const maxColdDealingBytes = 4096;
const maxRetryAfterMs = 3_600_000;

function writeLock(writer: ByteWriter, lock: Lock | null): void {
  writer.u8(lock === null ? 0 : 1);
  if (lock === null) return;
  writer.varint(lock.ballot).bytes(lock.descriptor.bytes);
  writeVouchers(writer, lock.votes);
}

function readLock(reader: ByteReader): Lock | null {
  const present = reader.u8();
  if (present > 1) throw new Fault('malformed', 'a lock is there or not');
  if (present === 0) return null;
  const ballot = reader.varint(maxBallot);
  return { ballot, descriptor: readDescriptor(reader), votes: readVouchers(reader) };
}

function readDescriptor(reader: ByteReader): EpochDescriptor {
  return decodeDescriptor(reader.bytes(maxDescriptorBytes));
}

/** A lock on its own, as a trustee keeps it. */
export function encodeLock(lock: Lock | null): Uint8Array {
  const writer = new ByteWriter();
  writeLock(writer, lock);
  return writer.done();
}

/** Throws `Fault('malformed')`. */
export function decodeLock(bytes: Uint8Array): Lock | null {
  const reader = new ByteReader(bytes);
  const lock = readLock(reader);
  reader.end();
  return lock;
}

function writeJustification(writer: ByteWriter, { promises, lock }: Justification): void {
  writeVouchers(writer, promises);
  writeLock(writer, lock);
}

function readJustification(reader: ByteReader): Justification {
  return { promises: readVouchers(reader), lock: readLock(reader) };
}

function writeBody(writer: ByteWriter, message: EpochMessage): void {
  switch (message.type) {
    case 'prepare':
      writer.varint(message.ballot);
      return;
    case 'promise':
      writeVoucher(writer, message.voucher);
      writeLock(writer, message.lock);
      return;
    case 'refused':
      writer.varint(message.ballot).string(message.code);
      writer.varint(message.promised).varint(message.retryAfterMs);
      return;
    case 'start':
      writer.bytes(encodePlan(message.plan));
      writeJustification(writer, message.justification);
      return;
    case 'ready':
      writer.hex(message.session);
      return;
    case 'ack':
      writeVoucher(writer, message.voucher);
      writer.bytes(message.descriptor.bytes);
      return;
    case 'propose':
      writer.varint(message.ballot).bytes(message.descriptor.bytes);
      writeJustification(writer, message.justification);
      writeVouchers(writer, message.acks);
      return;
    case 'vote':
    case 'accepted':
      writeVoucher(writer, message.voucher);
      return;
    case 'accept':
      writeLock(writer, message.lock);
      return;
    case 'sign':
      writer.bytes(message.descriptor.bytes);
      writeVouchers(writer, message.accepted);
      return;
    case 'relay':
      writer.hex(message.session).varint(message.sequence).bytes(message.bytes);
      return;
    case 'relayed':
      writer.hex(message.session).varint(message.count);
      return;
    case 'ask':
      return;
    case 'records':
      writer.varint(message.records.length);
      for (const record of message.records) writer.bytes(record);
      return;
    case 'released':
      writer.varint(message.ballot);
      return;
    case 'written':
      writer.varint(message.write);
      return;
    case 'recover':
      writer.bytes(encodePlan(message.plan)).raw(message.signature);
      writer.bytes(message.coldDealing.dealing).bytes(message.coldDealing.share);
      return;
    case 'recovered':
      writeVoucher(writer, message.voucher);
      writer.bytes(message.descriptor.bytes);
      return;
    case 'certify':
      writer.bytes(message.descriptor.bytes);
      writeVouchers(writer, message.acks);
      return;
  }
}

function readBody(reader: ByteReader, type: EpochMessageType, epoch: number): EpochMessage {
  switch (type) {
    case 'prepare':
      return { type, epoch, ballot: reader.varint(maxBallot) };
    case 'promise':
      return { type, epoch, voucher: readVoucher(reader), lock: readLock(reader) };
    case 'refused':
      return {
        type,
        epoch,
        ballot: reader.varint(maxBallot),
        code: reader.string(maxCodeBytes),
        promised: reader.varint(maxBallot),
        retryAfterMs: reader.varint(maxRetryAfterMs),
      };
    case 'start':
      return {
        type,
        epoch,
        plan: decodePlan(reader.bytes(maxDescriptorBytes)),
        justification: readJustification(reader),
      };
    case 'ready':
      return { type, epoch, session: reader.hex(32) };
    case 'ack':
      return { type, epoch, voucher: readVoucher(reader), descriptor: readDescriptor(reader) };
    case 'propose':
      return {
        type,
        epoch,
        ballot: reader.varint(maxBallot),
        descriptor: readDescriptor(reader),
        justification: readJustification(reader),
        acks: readVouchers(reader),
      };
    case 'vote':
    case 'accepted':
      return { type, epoch, voucher: readVoucher(reader) };
    case 'accept': {
      const lock = readLock(reader);
      if (lock === null) throw new Fault('malformed', 'accept what?');
      return { type, epoch, lock };
    }
    case 'sign':
      return { type, epoch, descriptor: readDescriptor(reader), accepted: readVouchers(reader) };
    case 'relay':
      return {
        type,
        epoch,
        session: reader.hex(32),
        sequence: reader.varint(maxRelaySequence - 1),
        bytes: Uint8Array.from(reader.bytes(maxRelayBytes)),
      };
    case 'relayed':
      return { type, epoch, session: reader.hex(32), count: reader.varint(maxRelaySequence) };
    case 'ask':
      return { type, epoch };
    case 'records': {
      const count = reader.varint(maxRecordsPerAnswer);
      const records = Array.from({ length: count }, () => Uint8Array.from(reader.bytes(maxRecordBytes)));
      return { type, epoch, records };
    }
    case 'released':
      return { type, epoch, ballot: reader.varint(maxBallot) };
    case 'written':
      return { type, epoch, write: reader.varint() };
    case 'recover': {
      const plan = decodePlan(reader.bytes(maxDescriptorBytes));
      const signature = Uint8Array.from(reader.raw(signatureBytes));
      const dealing = Uint8Array.from(reader.bytes(maxColdDealingBytes));
      const share = Uint8Array.from(reader.bytes(maxColdDealingBytes));
      return { type, epoch, plan, signature, coldDealing: { dealing, share } };
    }
    case 'recovered':
      return { type, epoch, voucher: readVoucher(reader), descriptor: readDescriptor(reader) };
    case 'certify':
      return { type, epoch, descriptor: readDescriptor(reader), acks: readVouchers(reader) };
  }
}

export function encodeMessage(message: EpochMessage): Uint8Array {
  const writer = new ByteWriter().u8(format).u8(types.indexOf(message.type)).varint(message.epoch);
  writeBody(writer, message);
  return writer.done();
}

const viewTypes: ReadonlySet<EpochMessageType> = new Set([
  'prepare',
  'start',
  'propose',
  'recover',
  'records',
]);

/** Whether whoever gets this message answers by what it sees of the mesh. */
export function asksForView(bytes: Uint8Array): boolean {
  const type = types[bytes[1] ?? types.length];
  return viewTypes.has(type ?? 'written');
}

/** Throws `Fault('malformed')`. Signatures are for whoever acts on the message to check. */
export function decodeMessage(bytes: Uint8Array): EpochMessage {
  if (bytes.length > maxEpochMessageBytes) throw new Fault('malformed', 'message is too large');
  const reader = new ByteReader(bytes);
  if (reader.u8() !== format) throw new Fault('malformed', 'a format this version does not know');
  const type = types[reader.u8()];
  if (type === undefined) throw new Fault('malformed', 'unknown kind of message');
  const message = readBody(reader, type, reader.varint());
  reader.end();
  return message;
}
