/** Frames as bytes and back. Decoding is strict: nothing short, long or out of bounds passes. */
import { ByteReader, ByteWriter, Fault, unreachable } from '../core.ts';
import { coordinateBytes, decodeCoordinate, encodeCoordinate } from './coordinates/coordinate.ts';
import {
  type Belief,
  type BucketParts,
  type Digest,
  type Frame,
  maxFrameBytes,
  maxRangesPerFrame,
  maxRecordsPerFrame,
  maxRumors,
  maxSlotsPerFrame,
  type RangeListing,
  type Rumor,
  type SyncEnd,
} from './frames.ts';
import { maxRecordBytes } from './replica/codec.ts';
import { digestBytes } from './replica/digest.ts';
import { bucketCount, partsPerBucket, rangeCount } from './replica/slots.ts';

const hostIdBytes = 32;
const proofBytes = 64;
const beliefs = ['alive', 'suspect', 'down', 'left', 'unknown'] as const;
const syncEnds: readonly SyncEnd[] = ['done', 'busy', 'timeout', 'overrun'];

/** Wire codes by position: append only. */
const types = [
  'ping',
  'ack',
  'ping-req',
  'relayed-ack',
  'nack',
  'corroborate',
  'rumors',
  'sync-open',
  'sync-listing',
  'sync-want',
  'sync-records',
  'sync-credit',
  'sync-close',
  'sync-parts',
  'sync-collected',
] as const satisfies readonly Frame['type'][];

/**
 * Whether an encoded frame needs a transport that neither loses nor reorders. Anti-entropy does; probes and
 * rumors are made for datagrams.
 */
export function needsStream(bytes: Uint8Array): boolean {
  return (types[bytes[0] ?? 0] ?? '').startsWith('sync-');
}

export function encodeFrame(frame: Frame): Uint8Array {
  const writer = new ByteWriter().u8(types.indexOf(frame.type));
  switch (frame.type) {
    case 'ping':
      writer.u32(frame.sequence).varint(frame.incarnation).raw(encodeCoordinate(frame.coordinate));
      writeBelief(writer, frame.belief);
      writeRumors(writer, frame.rumors);
      break;
    case 'ack':
      writer.u32(frame.sequence).varint(frame.incarnation).raw(encodeCoordinate(frame.coordinate));
      writeBelief(writer, frame.belief);
      writer.varint(frame.clock);
      writeDigest(writer, frame.root);
      writeRumors(writer, frame.rumors);
      break;
    case 'ping-req':
      writer
        .u32(frame.sequence)
        .hex(frame.target)
        .u8(frame.urgent ? 1 : 0);
      writeRumors(writer, frame.rumors);
      break;
    case 'corroborate':
      writer.hex(frame.target).varint(frame.incarnation);
      writeRumors(writer, frame.rumors);
      break;
    case 'rumors':
      writeRumors(writer, frame.rumors);
      break;
    case 'relayed-ack':
    case 'nack':
      writer.u32(frame.sequence);
      break;
    default:
      writeSync(writer, frame);
  }
  return writer.done();
}

function writeSync(writer: ByteWriter, frame: Frame & { type: `sync-${string}` }): void {
  writer.u32(frame.session);
  switch (frame.type) {
    case 'sync-open':
      writer.bytes(frame.buckets ?? new Uint8Array(0));
      break;
    case 'sync-listing':
      writer.u8(frame.last ? 1 : 0).varint(frame.ranges.length);
      for (const listing of frame.ranges) writeListing(writer, listing);
      break;
    case 'sync-parts':
      writer.varint(frame.buckets.length);
      for (const { bucket, digests } of frame.buckets) writer.varint(bucket).raw(digests);
      break;
    case 'sync-collected':
      writer.varint(frame.slots.length);
      for (const { slot, floor } of frame.slots) {
        writeDigest(writer, slot);
        writer.varint(floor);
      }
      break;
    case 'sync-want':
      writer.varint(frame.slots.length);
      for (const slot of frame.slots) writeDigest(writer, slot);
      break;
    case 'sync-records':
      writer.u8(frame.last ? 1 : 0).varint(frame.records.length);
      for (const record of frame.records) writer.bytes(record);
      break;
    case 'sync-credit':
      break;
    case 'sync-close':
      writer.u8(syncEnds.indexOf(frame.reason));
      break;
    default:
      unreachable(frame);
  }
}

function writeDigest(writer: ByteWriter, digest: Digest): void {
  writer.raw(Buffer.from(digest, 'latin1'));
}

function writeBelief(writer: ByteWriter, belief: Belief): void {
  writer.u8(beliefs.indexOf(belief.state)).varint(belief.incarnation);
}

function writeRumors(writer: ByteWriter, rumors: readonly Rumor[]): void {
  writer.varint(rumors.length);
  for (const rumor of rumors) {
    writer.u8(beliefs.indexOf(rumor.state)).hex(rumor.id).varint(rumor.incarnation);
    if (rumor.state === 'alive') writer.raw(rumor.proof);
    else writer.hex(rumor.accuser);
  }
}

function writeListing(writer: ByteWriter, listing: RangeListing): void {
  writer.varint(listing.range).varint(listing.entries.length);
  for (const entry of listing.entries) {
    writeDigest(writer, entry.slot);
    writeDigest(writer, entry.record);
  }
}

/** `Fault('malformed')` for anything outside the format, `Fault('unknown-frame')` for a later type. */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length > maxFrameBytes)
    throw new Fault('malformed', `frame has ${bytes.length} bytes, at most ${maxFrameBytes}`);
  const reader = new ByteReader(bytes);
  const code = reader.u8();
  const type = types[code];
  if (type === undefined) throw new Fault('unknown-frame', `frame type ${code} is not known`);
  const frame = readFrame(type, reader);
  reader.end();
  return frame;
}

function readFrame(type: Frame['type'], reader: ByteReader): Frame {
  switch (type) {
    case 'ping': {
      const head = readProbeHead(reader);
      return { type, ...head, rumors: readRumors(reader) };
    }
    case 'ack': {
      const head = readProbeHead(reader);
      const clock = reader.varint();
      return { type, ...head, clock, root: readDigest(reader), rumors: readRumors(reader) };
    }
    case 'ping-req': {
      const sequence = reader.u32();
      const target = reader.hex(hostIdBytes);
      return { type, sequence, target, urgent: readFlag(reader), rumors: readRumors(reader) };
    }
    case 'relayed-ack':
    case 'nack':
      return { type, sequence: reader.u32() };
    case 'corroborate': {
      const target = reader.hex(hostIdBytes);
      return { type, target, incarnation: reader.varint(), rumors: readRumors(reader) };
    }
    case 'rumors':
      return { type, rumors: readRumors(reader) };
    default:
      return readSync(type, reader.u32(), reader);
  }
}

function readSync(type: Frame['type'] & `sync-${string}`, session: number, reader: ByteReader): Frame {
  switch (type) {
    case 'sync-open':
      return { type, session, buckets: readBucketDigests(reader) };
    case 'sync-listing': {
      const last = readFlag(reader);
      return { type, session, last, ranges: readMany(reader, maxRangesPerFrame, readListing) };
    }
    case 'sync-parts':
      return { type, session, buckets: readMany(reader, bucketCount, readParts) };
    case 'sync-collected':
      return { type, session, slots: readMany(reader, maxRecordsPerFrame, readCollected) };
    case 'sync-want':
      return { type, session, slots: readMany(reader, maxSlotsPerFrame, readDigest) };
    case 'sync-records': {
      const last = readFlag(reader);
      return { type, session, last, records: readMany(reader, maxRecordsPerFrame, readRecordBytes) };
    }
    case 'sync-credit':
      return { type, session };
    case 'sync-close':
      return { type, session, reason: pick(reader, syncEnds) };
    default:
      return unreachable(type);
  }
}

/** What a ping and an ack have in common. */
function readProbeHead(reader: ByteReader) {
  const sequence = reader.u32();
  const incarnation = reader.varint();
  const coordinate = decodeCoordinate(reader.raw(coordinateBytes));
  return { sequence, incarnation, coordinate, belief: readBelief(reader) };
}

function readMany<T>(reader: ByteReader, max: number, read: (reader: ByteReader) => T): T[] {
  const count = reader.varint(max);
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read(reader));
  return items;
}

function readFlag(reader: ByteReader): boolean {
  return pick(reader, [false, true]);
}

function pick<T>(reader: ByteReader, choices: readonly T[]): T {
  const code = reader.u8();
  const choice = choices[code];
  if (choice === undefined) throw new Fault('malformed', `code ${code} is not known`);
  return choice;
}

function readDigest(reader: ByteReader): Digest {
  return Buffer.from(reader.raw(digestBytes)).toString('latin1');
}

function readBelief(reader: ByteReader): Belief {
  return { state: pick(reader, beliefs), incarnation: reader.varint() };
}

function readRumors(reader: ByteReader): Rumor[] {
  return readMany(reader, maxRumors, (source) => {
    const state = pick(source, ['alive', 'suspect', 'down'] as const);
    const id = source.hex(hostIdBytes);
    const incarnation = source.varint();
    if (state === 'alive') return { state, id, incarnation, proof: new Uint8Array(source.raw(proofBytes)) };
    return { state, id, incarnation, accuser: source.hex(hostIdBytes) };
  });
}

function readBucketDigests(reader: ByteReader): Uint8Array | null {
  const length = bucketCount * digestBytes;
  const bytes = reader.bytes(length);
  if (bytes.length === 0) return null;
  if (bytes.length !== length) throw new Fault('malformed', `${bytes.length} bytes of bucket digests`);
  return new Uint8Array(bytes);
}

function readListing(reader: ByteReader): RangeListing {
  const range = reader.varint(rangeCount - 1);
  const entries = readMany(reader, maxSlotsPerFrame, (source) => ({
    slot: readDigest(source),
    record: readDigest(source),
  }));
  return { range, entries };
}

function readParts(reader: ByteReader): BucketParts {
  const bucket = reader.varint(bucketCount - 1);
  return { bucket, digests: new Uint8Array(reader.raw(partsPerBucket * digestBytes)) };
}

function readCollected(reader: ByteReader): { slot: Digest; floor: number } {
  return { slot: readDigest(reader), floor: reader.varint() };
}

function readRecordBytes(reader: ByteReader): Uint8Array {
  return reader.bytes(maxRecordBytes);
}
