/**
 * A corner of the machine for the gossip benchmark: its own network, mounts and process ids, made with
 * `unshare`. All that is created inside (interfaces, routes, named network namespaces, processes) is gone when
 * its first process ends, however that ends, and no service of the machine can be met by accident.
 */
import { spawn } from 'node:child_process';
import { treeOf } from '../processes.ts';

export const isolationTools = ['setpriv', 'unshare'];

/** Tells the inner process where it is. */
const mark = 'STARLING_BENCH_ISOLATED';

export function isIsolated(): boolean {
  return process.env[mark] === '1';
}

/** Runs this same command isolated; resolves with its exit code. Throws unless root runs it. */
export async function runIsolated(say: (text: string) => void): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new Error('the gossip benchmark makes network namespaces: run it as root');
  const spaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const child = spawn(
    'setpriv',
    [
      // Whoever kills this process kills all of it.
      ...['--pdeathsig', 'KILL', 'unshare'],
      ...spaces,
      process.execPath,
      ...process.execArgv,
      ...process.argv.slice(1),
    ],
    {
      stdio: 'inherit',
      env: { ...process.env, [mark]: '1' },
    },
  );
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      // unshare itself ignores them; a second one from the terminal does no harm.
      for (const pid of treeOf(child.pid!).slice(1, 2)) process.kill(pid, signal);
    });
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('exit', (code, signal) => {
      if (signal !== null) say(`ended by ${signal}`);
      done(code ?? 1);
    });
  });
}
