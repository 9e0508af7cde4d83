/** Script checks: a program of this host, run without a shell; exit 0 passes, 1 warns, else it is critical. */
import { type ChildProcess, spawn } from 'node:child_process';
import { goDuration } from '../consul/consul.ts';
import type { CheckDefinition, CheckStatus } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';

/** What is kept of the output, bytes: its end, where programs say what went wrong. */
const maxOutputBytes = 4096;

/** Runs the program once; at the timeout it is killed with everything it started. Never rejects. */
export function runScript(check: CheckDefinition, stop: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const [program, ...args] = check.args;
    const tail = new Tail(maxOutputBytes);
    let timedOut = false;
    // A process group of its own, so that the whole of it can be killed.
    const child: ChildProcess = spawn(program!, args, {
      cwd: '/',
      env: environment(),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = (): void => {
      killGroup(child);
      // A descendant that left the group may hold the pipes open: what it says does not count any more.
      child.stdout?.destroy();
      child.stderr?.destroy();
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, check.timeoutMs);
    stop.addEventListener('abort', kill, { once: true });
    const finish = (status: CheckStatus, output: string): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', kill);
      resolve({ status, output });
    };
    // Where no file descriptor is left there are no pipes, whatever the types say; the error follows.
    child.stdout?.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => tail.add(chunk));
    child.once('error', (error) => finish('critical', `${program}: ${error.message}`));
    child.once('close', (code, signal) => {
      if (timedOut)
        finish('critical', `Timed out (${goDuration(check.timeoutMs)}) running check\n\n${tail.text()}`);
      else if (signal !== null) finish('critical', `killed by ${signal}\n\n${tail.text()}`);
      else finish(code === 0 ? 'passing' : code === 1 ? 'warning' : 'critical', tail.text());
    });
    if (stop.aborted) kill();
  });
}

/** The agent's own environment, without its settings: a join token may be among them. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('STARLING_')));
}

/** ESRCH means that everything in it has ended already. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The last bytes of a stream, and how many there were. */
class Tail {
  private readonly limit: number;
  private kept: Buffer = Buffer.alloc(0);
  private total = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  add(chunk: Buffer): void {
    this.total += chunk.length;
    this.kept = Buffer.concat([this.kept, chunk.subarray(-this.limit)]).subarray(-this.limit);
  }

  text(): string {
    const text = this.kept.toString('utf8');
    return this.total > this.limit ? `Captured ${this.limit} of ${this.total} bytes\n...\n${text}` : text;
  }
}
