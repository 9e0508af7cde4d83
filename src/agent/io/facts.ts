/** What this machine says about itself: defaults for an agent's settings. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { hostname, networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault, messageOf } from '../../core.ts';
import type { MachineFacts } from '../settings.ts';

/** The flag of a route that is up (Linux, `RTF_UP`). */
const routeUp = 1;

/**
 * The interface that carries the default IPv4 route, the one of the lowest metric if there are several, from
 * the text of `/proc/net/route`; null when there is none. Half of all addresses, as VPNs route them, is not it.
 */
export function defaultInterface(table: string): string | null {
  let best: { readonly name: string; readonly metric: number } | null = null;
  for (const line of table.split('\n').slice(1)) {
    const [name = '', destination, , flags = '', , , metric = '', mask] = line.trim().split(/\s+/);
    const isDefault = destination === '00000000' && mask === '00000000';
    if (!isDefault || (Number.parseInt(flags, 16) & routeUp) === 0) continue;
    if (best === null || Number(metric) < best.metric) best = { name, metric: Number(metric) };
  }
  return best?.name ?? null;
}

function routeTable(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8');
  } catch {
    return ''; // Not Linux, or no procfs: the caller then asks for --advertise.
  }
}

function routeAddress(): string | null {
  const name = defaultInterface(routeTable());
  const addresses = name === null ? [] : (networkInterfaces()[name] ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? null;
}

export function machineFacts(): MachineFacts {
  return {
    hostName: hostname(),
    isRoot: process.getuid?.() === 0,
    routeAddress: routeAddress(),
    temporaryDirectory: () => mkdtempSync(join(tmpdir(), 'starling-dev-')),
    readText(path) {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        throw new Fault('unreadable-file', `cannot read ${path}: ${messageOf(error)}`, { field: path });
      }
    },
  };
}
