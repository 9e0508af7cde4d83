/** TCP checks: passing when a connection is accepted within the timeout. */
import { connect } from 'node:net';
import { goDuration } from '../consul.ts';
import type { CheckDefinition } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';

/** Connects once to the check's `host:port`. Never rejects. */
export function runTcp(check: CheckDefinition, stop: AbortSignal): Promise<Outcome> {
  const split = check.target.lastIndexOf(':');
  const host = check.target.slice(0, split).replace(/^\[(.*)\]$/, '$1');
  const port = Number(check.target.slice(split + 1));
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal: stop });
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
