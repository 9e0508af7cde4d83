/** An epoch in force: its descriptor, the trustees who decided on it, and the root's signature. */
import { ByteReader, ByteWriter, Fault, type Verify } from '../../core.ts';
import { decodeDescriptor, type EpochDescriptor, maxDescriptorBytes, statementOf } from './descriptor.ts';
import { readVouchers, type Voucher, writeVouchers } from './voucher.ts';

export interface EpochRecord {
  readonly descriptor: EpochDescriptor;
  /** Of a quorum of the trustees of the epoch before, all of one ballot. */
  readonly accepted: readonly Voucher[];
  /**
   * Of `statementOf(descriptor)`, by the key of the epoch before. It outlives host keys: whoever gets hold of
   * those of old trustees years later cannot make it, because the shares are gone.
   */
  readonly signature: Uint8Array;
  readonly bytes: Uint8Array;
}

const format = 1;
const signatureBytes = 64;
/** 13 acceptances of 160 bytes beside the descriptor. */
export const maxRecordBytes: number = maxDescriptorBytes + 4096;

export function createRecord(
  descriptor: EpochDescriptor,
  accepted: readonly Voucher[],
  signature: Uint8Array,
): EpochRecord {
  const writer = new ByteWriter().u8(format).bytes(descriptor.bytes);
  writeVouchers(writer, accepted);
  return decodeRecord(writer.raw(signature).done());
}

/** Throws `Fault('malformed')`. Proves nothing: see `EpochChain`. */
export function decodeRecord(bytes: Uint8Array): EpochRecord {
  if (bytes.length > maxRecordBytes) throw new Fault('malformed', 'epoch record is too large');
  const own = Uint8Array.from(bytes);
  const reader = new ByteReader(own);
  if (reader.u8() !== format) throw new Fault('malformed', 'a format this version does not know');
  const descriptor = decodeDescriptor(reader.bytes(maxDescriptorBytes));
  const accepted = readVouchers(reader);
  const signature = Uint8Array.from(reader.raw(signatureBytes));
  reader.end();
  return { descriptor, accepted, signature, bytes: own };
}

/** Whether the key of the epoch before signed it. */
export function isSignedBy(record: EpochRecord, rootKey: string, verify: Verify): boolean {
  return verify(rootKey, statementOf(record.descriptor), record.signature);
}
