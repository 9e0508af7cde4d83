/** Go's durations, which Consul's formats use: `10s`, `1m30s`, `500ms`, `1.5h`. */
import { Fault } from '../../core.ts';

/** Longest duration that any definition may name: 31 days. */
export const maxDurationMs = 31 * 24 * 3600 * 1000;

const unitsMs: { readonly [unit: string]: number } = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const whole = /^(?:\d{1,15}(?:\.\d{0,15})?(?:ns|us|µs|μs|ms|s|m|h))+$/;
const part = /(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)/g;

/**
 * Milliseconds, rounded to whole ones, of a Go duration that is not negative (Go, `time.ParseDuration`).
 * `Fault('invalid-field')` for anything else and for more than `maxDurationMs`.
 */
export function parseDuration(text: string, field: string): number {
  if (text === '0') return 0;
  if (text.length > 64 || !whole.test(text))
    throw new Fault(
      'invalid-field',
      `${field}: "${text.slice(0, 64)}" is not a duration such as 10s, 1m30s or 500ms`,
      {
        field,
      },
    );
  let milliseconds = 0;
  for (const [, count, unit] of text.matchAll(part)) milliseconds += Number(count) * unitsMs[unit!]!;
  if (milliseconds > maxDurationMs)
    throw new Fault('invalid-field', `${field}: ${text} is longer than 31 days`, { field });
  return Math.round(milliseconds);
}

/** As `parseDuration`, between two bounds that the refusal names. */
export function parseDurationBetween(text: string, field: string, leastMs: number, mostMs: number): number {
  const milliseconds = parseDuration(text, field);
  if (milliseconds >= leastMs && milliseconds <= mostMs) return milliseconds;
  const bounds = `from ${leastMs / 1000}s to ${mostMs / 3_600_000}h`;
  throw new Fault('invalid-field', `${field}: "${text}" is not a duration ${bounds}`, { field });
}
