/** What this machine says about itself: defaults for an agent's settings. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { hostname, networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault, messageOf } from '../../core.ts';
import type { MachineFacts } from '../settings.ts';

/** The name of the interface that carries the default IPv4 route; null when there is none. */
function defaultInterface(): string | null {
  let table: string;
  try {
    table = readFileSync('/proc/net/route', 'utf8');
  } catch {
    return null; // Not Linux, or no procfs: the caller then asks for --advertise.
  }
  for (const line of table.split('\n').slice(1)) {
    const [name, destination, , flags] = line.split('\t');
    if (destination === '00000000' && flags !== undefined && (Number.parseInt(flags, 16) & 1) === 1)
      return name ?? null;
  }
  return null;
}

function routeAddress(): string | null {
  const name = defaultInterface();
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
