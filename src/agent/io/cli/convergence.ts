/** Waiting until every live host's proxy has taken a write on, and saying who has not. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Convergence } from '../../policy/receipts.ts';
import type { Invocation } from './invocation.ts';
import { ago, printable, tinted } from './output.ts';

const askEveryMs = 100;

export interface Waited {
  readonly revision: string;
  readonly converged: boolean;
  readonly hosts: number;
  /** Hosts that were live at the beginning and have not taken it on. */
  readonly pending: readonly { readonly name: string; readonly state: string }[];
  /** Hosts that were down from the beginning: they take it on when they are back. */
  readonly down: readonly string[];
  readonly waitedMs: number;
}

/**
 * Waits for what is in force at the agent now. A host that goes down meanwhile is waited for no longer, but it is
 * named: it was live, and has not taken the write on.
 */
export async function waitForAll({ client }: Invocation, timeoutMs: number): Promise<Waited> {
  const begun = performance.now();
  const first = await client.get<Convergence>('/v1/mesh/convergence');
  const { revision } = first;
  const awaited = new Set(first.hosts.filter(({ state }) => state !== 'down').map(({ id }) => id));
  for (let answer = first; ; ) {
    const missing = answer.hosts.filter(({ id, applied }) => awaited.has(id) && !applied);
    const waitedMs = performance.now() - begun;
    if (missing.every(({ state }) => state === 'down') || waitedMs >= timeoutMs)
      return {
        revision,
        converged: missing.length === 0,
        hosts: awaited.size,
        pending: missing.map(({ name, state }) => ({ name, state })),
        down: first.hosts.filter(({ id }) => !awaited.has(id)).map(({ name }) => name),
        waitedMs: Math.round(waitedMs),
      };
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
