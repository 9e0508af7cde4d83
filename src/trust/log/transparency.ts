/**
 * Holds trustees to one story about what they signed. A trustee signs the head of its issuance log now and
 * then; whoever has seen a head expects every later one to continue it (`head-book.ts`). Two heads that cannot
 * both be of one log are evidence that anybody can check, and so is an entry that is missing between them.
 */
import {
  ByteReader,
  ByteWriter,
  Fault,
  type HostId,
  type Millis,
  type Signer,
  type Verify,
} from '../../core.ts';
import { latestTime } from '../fields.ts';
import { decodeEntry, emptyHead, type IssuanceEntry, maxEntryBytes } from './issuance-log.ts';

/** A trustee's word that the entry `sequence` of its log, and so everything before it, has this hash. */
export interface SignedHead {
  readonly trustee: HostId;
  /** Of its last entry; 0 for an empty log, whose hash is `emptyHead`. */
  readonly sequence: number;
  readonly hash: string;
  readonly at: Millis;
  readonly signature: Uint8Array;
}

/**
 * Two signed heads of one trustee and, when their sequences differ, the entries after `earlier` up to `later`:
 * they lead to the later head and do not continue the earlier one.
 */
export interface Equivocation {
  readonly earlier: SignedHead;
  readonly later: SignedHead;
  readonly entries: readonly Uint8Array[];
}

const tag = 'starling-issuance-head-1\n';
const signatureBytes = 64;
/** Entries in one piece of evidence. */
export const maxAuditedEntries = 512;
/** Of one head, encoded. */
export const maxHeadBytes = 160;

/** `mesh` is the hash of the genesis. */
function headMessage(mesh: string, head: Omit<SignedHead, 'signature'>): Uint8Array {
  return new ByteWriter()
    .raw(Buffer.from(tag))
    .hex(mesh)
    .hex(head.trustee)
    .varint(head.sequence)
    .hex(head.hash)
    .varint(head.at)
    .done();
}

/** Signs the head of this host's own log, its `durableHead`: after a crash it must hold. */
export function signHead(
  mesh: string,
  last: Pick<IssuanceEntry, 'sequence' | 'hash'> | undefined,
  signer: Signer,
  at: Millis,
): SignedHead {
  const { sequence, hash } = last ?? { sequence: 0, hash: emptyHead };
  const head = { trustee: signer.publicKey, sequence, hash, at };
  return { ...head, signature: signer.sign(headMessage(mesh, head)) };
}

/** Whether its trustee really signed it. */
export function isGenuineHead(mesh: string, head: SignedHead, verify: Verify): boolean {
  return verify(head.trustee, headMessage(mesh, head), head.signature);
}

function writeHead(writer: ByteWriter, head: SignedHead): ByteWriter {
  return writer.hex(head.trustee).varint(head.sequence).hex(head.hash).varint(head.at).raw(head.signature);
}

function readHead(reader: ByteReader): SignedHead {
  return {
    trustee: reader.hex(32),
    sequence: reader.varint(),
    hash: reader.hex(32),
    at: reader.varint(latestTime),
    signature: Uint8Array.from(reader.raw(signatureBytes)),
  };
}

export function encodeHead(head: SignedHead): Uint8Array {
  return writeHead(new ByteWriter(), head).done();
}

/** Throws `Fault('malformed')`; does not check the signature. */
export function decodeHead(bytes: Uint8Array): SignedHead {
  const reader = new ByteReader(bytes);
  const head = readHead(reader);
  reader.end();
  return head;
}

export function encodeEquivocation(evidence: Equivocation): Uint8Array {
  const writer = writeHead(writeHead(new ByteWriter(), evidence.earlier), evidence.later);
  writer.varint(evidence.entries.length);
  for (const entry of evidence.entries) writer.bytes(entry);
  return writer.done();
}

/** Throws `Fault('malformed')`; whether it proves anything is for `provesEquivocation` to say. */
export function decodeEquivocation(bytes: Uint8Array): Equivocation {
  const reader = new ByteReader(bytes);
  const earlier = readHead(reader);
  const later = readHead(reader);
  const count = reader.varint(maxAuditedEntries);
  const entries = Array.from({ length: count }, () => Uint8Array.from(reader.bytes(maxEntryBytes)));
  reader.end();
  return { earlier, later, entries };
}

/**
 * Reads entries that follow one another up to `last`. Throws `Fault('log-broken')` where one does not follow,
 * or the last is not the one asked for; `Fault('malformed')`.
 */
export function verifyEntries(
  encoded: readonly Uint8Array[],
  last: Pick<IssuanceEntry, 'sequence' | 'hash'>,
): IssuanceEntry[] {
  if (encoded.length > maxAuditedEntries) throw new Fault('log-broken', 'too many entries at once');
  const entries = encoded.map(decodeEntry);
  for (const [i, entry] of entries.entries()) {
    const before = entries[i - 1];
    if (before !== undefined && (entry.sequence !== before.sequence + 1 || entry.previous !== before.hash))
      throw new Fault('log-broken', `entry ${entry.sequence} does not follow the one before it`);
  }
  const end = entries.at(-1);
  if (end?.sequence !== last.sequence || end.hash !== last.hash)
    throw new Fault('log-broken', `the entries do not lead to entry ${last.sequence}`);
  return entries;
}

/** Whether the evidence convicts its trustee; anybody can tell. Malformed entries prove nothing. */
export function provesEquivocation(mesh: string, evidence: Equivocation, verify: Verify): boolean {
  const { earlier, later, entries } = evidence;
  if (earlier.trustee !== later.trustee || earlier.sequence > later.sequence) return false;
  if (!isGenuineHead(mesh, earlier, verify) || !isGenuineHead(mesh, later, verify)) return false;
  if (earlier.sequence === later.sequence) return entries.length === 0 && earlier.hash !== later.hash;
  try {
    const [first] = verifyEntries(entries, later);
    return first?.sequence === earlier.sequence + 1 && first.previous !== earlier.hash;
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}
