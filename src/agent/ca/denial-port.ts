/** Who and what is denied, as the API and the CLI see it; see `src/trust/admission/denial.ts`. */
import type { HostId, Millis, Signer } from '../../core.ts';
import type { Denied } from '../../trust/admission/denial.ts';

/** Of every certificate that the mesh issues, hex: 19 bytes, of which the top bits are fixed; see `serialNumber`. */
export const serialPattern = '^[4-7][0-9a-f]{37}$';
/** What is said of any other. */
export const serialRule =
  'a serial number of this mesh has 38 lower-case hex digits, of which the first is 4 to 7';

/** Denies a host, or one certificate, for good. Answered with a `DenialAnswer`. */
export interface Deny {
  readonly type: 'deny';
  readonly denied: Denied;
  readonly reason: string;
  /** Even if those who are left cannot sign certificates any more. */
  readonly force: boolean;
  readonly operator: Signer;
}

/** One of these is null. */
export interface DenialStatus {
  readonly host: HostId | null;
  /** Hex. */
  readonly serial: string | null;
  /** Of the host, as it was admitted; '' where that is not known. */
  readonly name: string;
  readonly reason: string;
  readonly at: Millis;
  /** When it ends by itself; null for a host's, which does not. */
  readonly until: Millis | null;
  /** Key of the operator who signed it. */
  readonly by: HostId;
}

/** What `deny` answers; not `changed` when it was denied before. */
export interface DenialAnswer extends DenialStatus {
  readonly changed: boolean;
  /** Whether it is a host with a seat among the trustees: it may keep its share of the root when the seat is taken. */
  readonly trustee: boolean;
}
