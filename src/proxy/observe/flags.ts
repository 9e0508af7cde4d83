/**
 * Response flags: in two letters or so, why a request went as it did. Names and meanings are Envoy's (access log,
 * `%RESPONSE_FLAGS%`), so that what people have learned there holds here. A request may have several: a bit each.
 */
import type { RefusalReason } from '../dataplane.ts';

/** Ordered as they are written out. */
const names = [
  /** No healthy upstream: no endpoint in rotation. */
  'UH',
  /** Upstream connection failure: none could be made, or there is no certificate to make one with. */
  'UF',
  /** Upstream overflow: a limit or an open circuit breaker. */
  'UO',
  /** No route: nothing of that name. */
  'NR',
  /** Upstream request timeout. */
  'UT',
  /** Upstream remote reset: the peer's proxy said that it could not answer. */
  'UR',
  /** Upstream connection termination before the answer was complete. */
  'UC',
  /** Upstream protocol error: an answer that breaks the rules. */
  'UPE',
  /** Downstream connection termination: the client did not wait. */
  'DC',
  /** Downstream protocol error: a request that breaks the rules. */
  'DPE',
  /** Delay injected by policy. */
  'DI',
  /** Fault injected by policy. */
  'FI',
  /** Rate limited. */
  'RL',
  /** Unauthorized: denied by an intention, or by a caller without identity. */
  'UAEX',
  /** Upstream retry limit exceeded. */
  'URX',
  /** Stream idle timeout. */
  'SI',
] as const;

type FlagName = (typeof names)[number];

/** A set of flags, a bit each; 0 for a request that went as it should. */
export type ResponseFlags = number;

export const responseFlag: Readonly<{ [name in FlagName]: ResponseFlags }> = Object.freeze(
  Object.fromEntries(names.map((name, index) => [name, 1 << index])) as { [name in FlagName]: ResponseFlags },
);

/** `UF,URX`, or `-` for none, as Envoy prints them. */
export function flagText(flags: ResponseFlags): string {
  if (flags === 0) return '-';
  return names.filter((name) => (flags & responseFlag[name]) !== 0).join(',');
}

const byReason: Readonly<{ [reason in RefusalReason]: ResponseFlags }> = {
  denied: responseFlag.UAEX,
  'no-caller': responseFlag.UAEX,
  'no-route': responseFlag.NR,
  'no-healthy-upstream': responseFlag.UH,
  'no-identity': responseFlag.UF,
  'connect-failure': responseFlag.UF,
  'upstream-reset': responseFlag.UC,
  timeout: responseFlag.UT,
  'rate-limited': responseFlag.RL,
  overflow: responseFlag.UO,
  'circuit-open': responseFlag.UO,
  fault: responseFlag.FI,
  'bad-request': responseFlag.DPE,
  'bad-response': responseFlag.UPE,
};

/** The flag of a request that ended for this reason; `status` tells whose silence a timeout was. */
export function flagOf(reason: RefusalReason, status: number): ResponseFlags {
  return reason === 'timeout' && status === 408 ? responseFlag.SI : byReason[reason];
}
