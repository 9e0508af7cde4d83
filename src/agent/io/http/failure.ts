/** Which HTTP status a failure is answered with. */
import type { Fault } from '../../../core.ts';

const statusByCode: { readonly [code: string]: number } = {
  'acl-disabled': 401,
  malformed: 400,
  'bad-ttl': 400,
  'not-a-ttl-check': 400,
  'unknown-role': 400,
  'bad-query': 400,
  'invalid-filter': 400,
  'invalid-regex': 400,
  unsupported: 400,
  inconsistent: 400,
  denied: 403,
  'foreign-host': 403,
  'operator-needed': 403,
  'not-operator': 403,
  'not-first-operator': 403,
  'name-not-granted': 403,
  unjustified: 403,
  'not-found': 404,
  'unknown-service': 404,
  'unknown-check': 404,
  'unknown-config-entry': 404,
  'unknown-intention': 404,
  'unknown-token': 404,
  'unknown-host': 404,
  'unknown-revision': 404,
  'wrong-method': 405,
  'body-too-large': 413,
  conflict: 409,
  'quota-exceeded': 409,
  'too-many-services': 409,
  'too-many-checks': 409,
  'too-many-waiting': 429,
  'no-datacenter': 500,
  'not-built': 501,
  unavailable: 503,
  'store-unavailable': 503,
  'store-lost': 503,
  'not-synchronised': 503,
  overloaded: 503,
  'store-closed': 503,
  'store-overloaded': 503,
  'storage-failed': 503,
  'not-ready': 503,
  'no-quorum': 503,
  'quorum-lost': 503,
  'timed-out': 503,
  'epoch-unknown': 503,
  unreachable: 503,
  isolated: 503,
  'too-many-requests': 503,
  'rate-limited': 429,
  'wrong-root': 503,
  'clock-skew': 503,
  'trustee-busy': 503,
  'share-unknown': 503,
  'nonce-unknown': 503,
  'nonce-quota': 503,
  'nonces-exhausted': 503,
  'engine-silent': 503,
  'issuer-full': 503,
  'issuer-wrong': 502,
  'use-raced': 403,
  'not-admitted': 403,
  'csr-malformed': 400,
  'csr-key': 400,
  'csr-signature': 400,
  'csr-names': 400,
  'csr-extension': 400,
  'spiffe-id-malformed': 400,
};

/** A failure that names a field is the caller's mistake; one that is not listed is ours. */
export function statusOf(fault: Fault): number {
  return statusByCode[fault.code] ?? (fault.field === undefined ? 500 : 400);
}

/** Whether the fault is not the caller's and belongs into the log. */
export function isOurs(fault: Fault): boolean {
  return statusByCode[fault.code] === undefined && fault.field === undefined;
}

/**
 * The fault's message as one line of text, with the field in front unless the message names it. It may quote what
 * anybody sent, so no control character gets out: neither to a terminal nor to the log of who asked.
 */
export function lineOf(fault: Fault): string {
  const { field, message } = fault;
  const line =
    field === undefined || field === '' || message.includes(field) ? message : `${field}: ${message}`;
  return line
    .replace(/\s+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}
