/** Reads what `wrk` prints. */

export interface WrkResult {
  /** Requests answered, over `seconds`. */
  readonly requests: number;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  /** Connections refused or cut, timeouts, and answers that were not 2xx or 3xx. */
  readonly failed: number;
}

const secondsIn: { readonly [unit: string]: number } = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Throws when the text is not a finished report: a measurement that cannot be read must not pass as one. */
export function parseWrk(text: string): WrkResult {
  const total = /^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h)\b/m.exec(text);
  const rate = /^Requests\/sec:\s+([\d.]+)/m.exec(text);
  if (total === null || rate === null)
    throw new Error(`wrk printed no report: ${text.trim() || '(nothing)'}`);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(text);
  const counts = [...(errors?.slice(1) ?? []), refused?.[1] ?? '0'];
  return {
    requests: Number(total[1]),
    seconds: Number(total[2]) * secondsIn[total[3]!]!,
    requestsPerSecond: Number(rate[1]),
    failed: counts.reduce((sum, count) => sum + Number(count), 0),
  };
}
