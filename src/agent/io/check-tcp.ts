/** TCP checks: passing when a connection is accepted within the timeout. */
import { connect } from 'node:net';
import { goDuration } from '../consul/consul.ts';
import type { CheckDefinition } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';
import type { Reach } from './check-reach.ts';

/** Connects once to the check's `host:port`. Rejects only where it may not. */
export function runTcp(check: CheckDefinition, reach: Reach, stop: AbortSignal): Promise<Outcome> {
  const split = check.target.lastIndexOf(':');
  const host = check.target.slice(0, split).replace(/^\[(.*)\]$/, '$1');
  const port = Number(check.target.slice(split + 1));
  return new Promise((resolve) => {
    reach.admit(host, port);
    const socket = connect({ host, port, signal: stop, lookup: reach.lookupFor(port) });
    const timer = setTimeout(
      () => finish('critical', `timed out after ${goDuration(check.timeoutMs)}`),
      check.timeoutMs,
    );
    const finish = (status: 'passing' | 'critical', output: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ status, output: `TCP connect ${check.target}: ${output}` });
    };
    socket.once('connect', () => finish('passing', 'Success'));
    // Stays on: an error after the end, as when the abort comes late, must not go unhandled.
    socket.on('error', (error) => finish('critical', error.message));
  });
}
