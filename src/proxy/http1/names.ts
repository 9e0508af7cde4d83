/** Field names that the proxy acts on, and the groups of them with one treatment. */
import { ascii, spells, spellsLoosely } from './bytes.ts';

export const host = ascii('host');
export const contentLength = ascii('content-length');
export const transferEncoding = ascii('transfer-encoding');
export const connection = ascii('connection');
export const keepAlive = ascii('keep-alive');
export const upgrade = ascii('upgrade');
export const expect = ascii('expect');
export const te = ascii('te');
export const proxyConnection = ascii('proxy-connection');
export const requestId = ascii('x-request-id');
export const contentType = ascii('content-type');
export const grpcStatus = ascii('grpc-status');
const clientCertificate = ascii('x-forwarded-client-cert');
const ownPrefix = ascii('x-starling-');

/** Whether the name at `start` of `length` bytes is `name`, in any case. */
export function isName(bytes: Uint8Array, start: number, length: number, name: Uint8Array): boolean {
  return length === name.length && spells(bytes, start, name);
}

/** Names that say who calls: only a proxy may set them, so a client's are dropped. */
export function isIdentity(bytes: Uint8Array, start: number, length: number): boolean {
  if (length === clientCertificate.length && spellsLoosely(bytes, start, clientCertificate)) return true;
  return length > ownPrefix.length && spellsLoosely(bytes, start, ownPrefix);
}

const framing = [host, contentLength, transferEncoding, connection, upgrade, requestId, te].concat(
  ['trailer', 'content-encoding', 'content-type', 'content-range', 'authorization', 'expect', 'cookie'].map(
    ascii,
  ),
);

/**
 * Names a trailer must not carry (RFC 9110 section 6.5.1): framing, routing, authentication and identity. A
 * receiver that merges trailers into headers would otherwise be told them behind the proxy's back.
 */
export function isForbiddenTrailer(bytes: Uint8Array, start: number, length: number): boolean {
  return framing.some((name) => isName(bytes, start, length, name)) || isIdentity(bytes, start, length);
}

const keptInSpiteOfConnection = [host, contentLength, transferEncoding, requestId];

/**
 * Names that `Connection` cannot have dropped: a client that names framing, the host or what a proxy set
 * wants the next hop to see another message than this one.
 */
export function isProtectedFromConnection(bytes: Uint8Array, start: number, length: number): boolean {
  return (
    keptInSpiteOfConnection.some((name) => isName(bytes, start, length, name)) ||
    isIdentity(bytes, start, length)
  );
}
