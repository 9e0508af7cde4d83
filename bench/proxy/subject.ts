/** One way from the client to the backend, as the load generators see it. */
import type { Program } from '../../demo/flock.ts';
import { assertOwned } from '../processes.ts';

export interface Subject {
  readonly name: string;
  /** Where the client connects, `address:port`, plain HTTP/1.1. */
  readonly endpoint: string;
  /** The proxies on the way, whose cost is measured; empty for the direct way. */
  readonly proxies: readonly Program[];
}

/** Throws when a proxy has ended, or someone else answers on the endpoint. */
export function assertInPlace(subject: Subject): void {
  for (const { child, running, stderr } of subject.proxies)
    if (!running)
      throw new Error(`a proxy of ${subject.name} ended (${child.spawnfile}): ${stderr.slice(-500)}`);
  const pids = subject.proxies.map(({ pid }) => pid);
  if (pids.length > 0) assertOwned(subject.endpoint, pids);
}
