/**
 * What a requester and a trustee say to each other: one frame each way, over a channel that proves both host
 * keys. The requester coordinates; a trustee decides on its own and rebuilds what it signs from the request.
 */
import { ByteReader, ByteWriter, Fault, type HostId, type Millis } from '../../core.ts';
import { latestTime } from '../fields.ts';
import { maxCertificateBytes } from '../x509/certificate.ts';
import { maxCsrBytes } from '../x509/csr.ts';
import { backdateMs, type Root } from '../x509/root.ts';
import { dnsNamesOf, parseSpiffeId } from '../x509/spiffe.ts';
import { type LeafFields, leafId, serialNumber } from '../x509/x509.ts';

export interface IssueRequest {
  /** Chosen by the requester, repeated in the reply. */
  readonly requestId: number;
  /** Layout of the certificate asked for; see `certificateProfile`. */
  readonly profile: number;
  /** Which root is to sign. */
  readonly generation: number;
  readonly csr: Uint8Array;
  /** The requester's clock, whole seconds; the certificate's times derive from it. */
  readonly issuedAt: Millis;
  readonly ttlMs: number;
}

export type IssueReply =
  /** DER, the service's certificate first, then what links it to older roots. */
  | { readonly type: 'issued'; readonly requestId: number; readonly chain: readonly Uint8Array[] }
  | {
      readonly type: 'refused';
      readonly requestId: number;
      readonly code: string;
      readonly message: string;
      /** Not to be asked again before this long; 0 when waiting is not what is needed. */
      readonly retryAfterMs: number;
    };

export const maxIssueRequestBytes: number = maxCsrBytes + 64;
export const maxChainLength = 4;
export const maxIssueReplyBytes: number = maxChainLength * (maxCertificateBytes + 8) + 64;
const maxRequestId = 0xffff_ffff;
const maxCodeBytes = 64;
const maxMessageBytes = 512;
const maxRetryAfterMs = 3_600_000;
/** The first byte of each frame, so that one is never taken for the other or for a later form. */
const requestForm = 1;
const issuedForm = 2;
const refusedForm = 3;

export function encodeIssueRequest(request: IssueRequest): Uint8Array {
  return new ByteWriter()
    .u8(requestForm)
    .varint(request.requestId)
    .varint(request.profile)
    .varint(request.generation)
    .bytes(request.csr)
    .varint(request.issuedAt)
    .varint(request.ttlMs)
    .done();
}

/** Throws `Fault('malformed')`. */
export function decodeIssueRequest(bytes: Uint8Array): IssueRequest {
  if (bytes.length > maxIssueRequestBytes) throw new Fault('malformed', 'the request is too large');
  const reader = new ByteReader(bytes);
  if (reader.u8() !== requestForm) throw new Fault('malformed', 'not a request of a form known here');
  const request: IssueRequest = {
    requestId: reader.varint(maxRequestId),
    profile: reader.varint(maxRequestId),
    generation: reader.varint(maxRequestId),
    csr: Uint8Array.from(reader.bytes(maxCsrBytes)),
    issuedAt: reader.varint(latestTime),
    ttlMs: reader.varint(latestTime),
  };
  reader.end();
  return request;
}

export function encodeIssueReply(reply: IssueReply): Uint8Array {
  const writer = new ByteWriter();
  if (reply.type === 'issued') {
    writer.u8(issuedForm).varint(reply.requestId).u8(reply.chain.length);
    for (const der of reply.chain) writer.bytes(der);
  } else {
    writer.u8(refusedForm).varint(reply.requestId).string(reply.code);
    // The text is ours, but what it quotes may be long; UTF-8 takes up to three bytes a code unit.
    writer.string(reply.message.slice(0, maxMessageBytes / 3)).varint(reply.retryAfterMs);
  }
  return writer.done();
}

/** Throws `Fault('malformed')`. */
export function decodeIssueReply(bytes: Uint8Array): IssueReply {
  if (bytes.length > maxIssueReplyBytes) throw new Fault('malformed', 'the reply is too large');
  const reader = new ByteReader(bytes);
  const form = reader.u8();
  const requestId = reader.varint(maxRequestId);
  let reply: IssueReply;
  if (form === issuedForm) {
    const count = reader.u8();
    if (count < 1 || count > maxChainLength)
      throw new Fault('malformed', 'the chain has no or too many certificates');
    const chain = Array.from({ length: count }, () => Uint8Array.from(reader.bytes(maxCertificateBytes)));
    reply = { type: 'issued', requestId, chain };
  } else if (form === refusedForm) {
    const code = reader.string(maxCodeBytes);
    if (!/^[a-z][a-z0-9-]*$/.test(code)) throw new Fault('malformed', 'the refusal has no valid code');
    const message = reader.string(maxMessageBytes);
    reply = { type: 'refused', requestId, code, message, retryAfterMs: reader.varint(maxRetryAfterMs) };
  } else throw new Fault('malformed', 'not a reply of a form known here');
  reader.end();
  return reply;
}

/**
 * What a certificate says, as a function of the request, the checked CSR, the root and the host that asks: all
 * who are asked the same write the same bytes. It never outlives its root.
 */
export function leafFieldsOf(
  request: Pick<IssueRequest, 'issuedAt' | 'ttlMs'>,
  csr: { readonly spki: Uint8Array; readonly spiffeId: string },
  root: Root,
  host: HostId,
): LeafFields {
  return {
    issuer: root,
    host,
    spki: csr.spki,
    spiffeId: csr.spiffeId,
    dnsNames: dnsNamesOf(parseSpiffeId(csr.spiffeId)),
    notBefore: request.issuedAt - backdateMs,
    notAfter: Math.min(request.issuedAt + Math.floor(request.ttlMs / 1000) * 1000, root.notAfter),
  };
}

/** Hex of the serial number that a leaf will carry. */
export function serialOf(leaf: LeafFields, issuerSpki: Uint8Array): string {
  return serialNumber(issuerSpki, leaf.spki, leafId(leaf), leaf.notBefore).toString('hex');
}
