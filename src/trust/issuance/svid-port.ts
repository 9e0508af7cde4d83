/** What the keeper of service identities takes in, what it asks of its driver, and what it shows. */
import type { Millis, Random, Verify } from '../../core.ts';
import type { TrustBundle } from '../bundle.ts';

/** An identity as it lies on disk between two runs. `keyPem` is a secret. */
export interface SavedIdentity {
  readonly service: string;
  /** The certificate, then whatever links it to older roots. */
  readonly certPem: string;
  readonly keyPem: string;
}

export type SvidInput =
  | { readonly type: 'wake' }
  /** The complete set of services that this host has now. */
  | { readonly type: 'services'; readonly services: readonly string[] }
  /** Identities from disk, before or after their services are named. */
  | { readonly type: 'restore'; readonly saved: readonly SavedIdentity[] }
  /** Answers `make-key`. */
  | {
      readonly type: 'key-made';
      readonly service: string;
      readonly csr: Uint8Array;
      readonly keyPem: string;
    }
  /** A reply frame, from whichever trustee. */
  | { readonly type: 'reply'; readonly bytes: Uint8Array }
  /** No trustee could be asked. */
  | { readonly type: 'request-failed'; readonly requestId: number; readonly reason: string }
  /** The trust bundle changed: what another root than the active one signed is renewed soon. */
  | { readonly type: 'bundle-changed' }
  /** Other certificates are denied than before: in the place of such a one there is to be another, now. */
  | { readonly type: 'denials-changed' };

export type SvidEffect =
  /** Make a P-256 key and a signing request for it (`createCsr`); answer with `key-made`. */
  | {
      readonly type: 'make-key';
      readonly service: string;
      readonly spiffeId: string;
      readonly dnsNames: readonly string[];
    }
  /** Send to the present trustees; answer with `reply` or `request-failed`. */
  | {
      readonly type: 'request';
      readonly service: string;
      readonly requestId: number;
      readonly bytes: Uint8Array;
    }
  /** A certificate to use and to keep on disk. `keyPem` is a secret. */
  | {
      readonly type: 'identity';
      readonly service: string;
      readonly spiffeId: string;
      readonly certPem: string;
      readonly keyPem: string;
      readonly notBefore: Millis;
      readonly notAfter: Millis;
    }
  /** The service is gone from this host: stop using its identity and delete it. */
  | { readonly type: 'forget'; readonly service: string };

export interface SvidOptions {
  readonly trustDomain: string;
  readonly datacenter: string;
  readonly bundle: Pick<TrustBundle, 'active' | 'believed'>;
  /** Whether the certificate of this serial number, hex, is refused by everybody. */
  readonly isDenied: (serial: string) => boolean;
  readonly verify: Verify;
  readonly random: Random;
  /** Lifetime asked for. */
  readonly ttlMs: number;
  /** Over how long hosts spread what all of them ask for at once: longer where there are more of them. */
  readonly renewalSpreadMs: () => Millis;
}

/** One service's identity as status pages show it. */
export interface SvidStatus {
  readonly service: string;
  readonly spiffeId: string;
  /** 0 while there is none. */
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Why there is none yet, or why the last renewal failed; null when all is well. */
  readonly problem: string | null;
}
