/** Whether there is anything to do, found without looking at what two configurations share. */
import type { ProxyConfig } from '../config.ts';

/** Whether a data plane that runs `a` has nothing to do to run `b`. */
export function configEquals(a: ProxyConfig, b: ProxyConfig): boolean {
  return equal(a, b);
}

/** Deep equality of plain data. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equal(a[i], b[i])) return false;
    return true;
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  const [left, right] = [a, b] as { readonly [key: string]: unknown }[];
  for (const key of keys) if (!Object.hasOwn(right!, key) || !equal(left![key], right![key])) return false;
  return true;
}
