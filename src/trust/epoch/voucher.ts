/**
 * What a trustee signs with its host key in an agreement, so that a third party can check what it said: that
 * it will follow a ballot, that a proposal is justified, that it accepted it, that its new share is safe.
 */
import { ByteReader, ByteWriter, Fault, type HostId } from '../../core.ts';
import { type EpochPlan, maxBallot, sessionOf } from './descriptor.ts';
import { maxTrustees } from './policy.ts';

/**
 * `promise`: follows no lower ballot any more. `vote`: the value is one that this ballot may have; one value a
 * ballot. `accepted`: bound to the value until a higher ballot lets go. `ack`: a new trustee's share is durable.
 */
export type VoucherRole = 'promise' | 'vote' | 'accepted' | 'ack';

export interface Voucher {
  readonly role: VoucherRole;
  /** The epoch to be made. */
  readonly epoch: number;
  readonly ballot: number;
  /**
   * Hash of a descriptor. In a promise: what the signer last accepted, and in which ballot; null for nothing.
   * In all others: what it speaks of, in this ballot.
   */
  readonly value: { readonly ballot: number; readonly hash: string } | null;
  /** In a promise: the last ballot in which the signer voted; 0 for none, and in all others. */
  readonly voted: number;
  /** In a promise: whether the signer has its share of the present epoch, and so can deal. */
  readonly holdsShare: boolean;
  readonly by: HostId;
  readonly signature: Uint8Array;
}

export type VoucherContent = Omit<Voucher, 'by' | 'signature'>;

const roles: readonly VoucherRole[] = ['promise', 'vote', 'accepted', 'ack'];
const signatureBytes = 64;
const tag = 'starling-epoch-voucher-1\n';

function writeContent(writer: ByteWriter, content: VoucherContent): ByteWriter {
  writer.u8(roles.indexOf(content.role)).varint(content.epoch).varint(content.ballot);
  writer.u8((content.value === null ? 0 : 1) | (content.holdsShare ? 2 : 0));
  if (content.value !== null) writer.varint(content.value.ballot).hex(content.value.hash);
  return writer.varint(content.voted);
}

/** What is signed. `previous` is the hash of the epoch that decides: a fork's vouchers say nothing here. */
export function voucherMessage(mesh: string, previous: string, content: VoucherContent): Uint8Array {
  return writeContent(new ByteWriter().raw(Buffer.from(tag)).hex(mesh).hex(previous), content).done();
}

/** Whether it speaks, signed or not, of this value in this ballot. */
export function speaksOf(voucher: Voucher, ballot: number, hash: string): boolean {
  return voucher.ballot === ballot && voucher.value?.ballot === ballot && voucher.value.hash === hash;
}

/** Whether it says, signed or not, that a new trustee holds its share of this epoch, on which no ballot decides. */
export function isAckOf({ role, epoch, value, by }: Voucher, plan: EpochPlan, hash: string): boolean {
  return role === 'ack' && epoch === plan.epoch && value?.hash === hash && plan.trustees.includes(by);
}

/** What is signed by whoever decides in the place of a quorum. Begins with ASCII, so it is never a certificate. */
export function recoveryStatement(plan: EpochPlan): Uint8Array {
  return new ByteWriter().raw(Buffer.from('starling-recovery-1\n')).hex(sessionOf(plan)).done();
}

export function writeVoucher(writer: ByteWriter, voucher: Voucher): void {
  writeContent(writer, voucher).hex(voucher.by).raw(voucher.signature);
}

/** Throws `Fault('malformed')`; does not check the signature. */
export function readVoucher(reader: ByteReader): Voucher {
  const role = roles[reader.u8()];
  if (role === undefined) throw new Fault('malformed', 'unknown kind of voucher');
  const epoch = reader.varint();
  const ballot = reader.varint(maxBallot);
  const flags = reader.u8();
  if (flags > 3) throw new Fault('malformed', 'unknown flags in a voucher');
  const value = (flags & 1) === 0 ? null : { ballot: reader.varint(maxBallot), hash: reader.hex(32) };
  const holdsShare = (flags & 2) !== 0;
  const voted = reader.varint(maxBallot);
  const by = reader.hex(32);
  const signature = Uint8Array.from(reader.raw(signatureBytes));
  return { role, epoch, ballot, value, voted, holdsShare, by, signature };
}

export function writeVouchers(writer: ByteWriter, vouchers: readonly Voucher[]): void {
  writer.varint(vouchers.length);
  for (const voucher of vouchers) writeVoucher(writer, voucher);
}

export function readVouchers(reader: ByteReader): Voucher[] {
  const count = reader.varint(maxTrustees);
  return Array.from({ length: count }, () => readVoucher(reader));
}

export function encodeVoucher(voucher: Voucher): Uint8Array {
  const writer = new ByteWriter();
  writeVoucher(writer, voucher);
  return writer.done();
}

export function decodeVoucher(bytes: Uint8Array): Voucher {
  const reader = new ByteReader(bytes);
  const voucher = readVoucher(reader);
  reader.end();
  return voucher;
}
