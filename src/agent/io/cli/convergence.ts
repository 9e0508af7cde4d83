/** Waiting until every live host's proxy has taken a write on, and saying who has not. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Convergence } from '../../policy/receipts.ts';
import type { Invocation } from './invocation.ts';
import { ago, printable, tinted } from './output.ts';

const askEveryMs = 100;

export interface Waited {
  readonly revision: string;
  /** Every host of those that were live at the beginning, and are not down now, has taken it on. */
  readonly converged: boolean;
  /** So many were waited for to the end. */
  readonly hosts: number;
  /** Those of them that have not taken it on. */
  readonly pending: readonly { readonly name: string; readonly state: string }[];
  /** Hosts that were down from the beginning, or went down before they took it on: they do when they are back. */
  readonly down: readonly string[];
  readonly waitedMs: number;
}

/** Waits for what is in force at the agent now, on hosts that are live, and for as long as they are. */
export async function waitForAll({ client }: Invocation, timeoutMs: number): Promise<Waited> {
  const begun = performance.now();
  const first = await client.get<Convergence>('/v1/mesh/convergence');
  const { revision } = first;
  const awaited = new Set(first.hosts.filter(({ state }) => state !== 'down').map(({ id }) => id));
  for (let answer = first; ; ) {
    const missing = answer.hosts.filter(({ id, applied }) => awaited.has(id) && !applied);
    const pending = missing.filter(({ state }) => state !== 'down');
    const waitedMs = performance.now() - begun;
    if (pending.length === 0 || waitedMs >= timeoutMs) {
      const lost = new Set(missing.filter(({ state }) => state === 'down').map(({ id }) => id));
      return {
        revision,
        converged: pending.length === 0,
        hosts: awaited.size - lost.size,
        pending: pending.map(({ name, state }) => ({ name, state })),
        down: first.hosts.filter(({ id }) => !awaited.has(id) || lost.has(id)).map(({ name }) => name),
        waitedMs: Math.round(waitedMs),
      };
    }
    await pause(Math.min(askEveryMs, timeoutMs - waitedMs));
    answer = await client.get<Convergence>(`/v1/mesh/convergence?revision=${revision}`);
  }
}

/** For people. */
export function waitedText({ converged, hosts, pending, down, waitedMs }: Waited): string {
  const later = down.length === 0 ? '' : `; down, and to follow: ${down.map(printable).join(', ')}`;
  const after = waitedMs < 1000 ? `${waitedMs}ms` : ago(waitedMs);
  if (converged)
    return `${tinted('in force', 'good')} on ${hosts === 1 ? 'the one live host' : `all ${hosts} live hosts`} after ${after}${later}`;
  const names = pending.map(({ name, state }) => `${printable(name)} (${state})`).join(', ');
  return `${tinted('not in force', 'bad')} after ${after} on: ${names}${later}`;
}
