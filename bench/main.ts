/** `npm run bench -- proxy [--json FILE] [--seconds N] [--rounds N]`: measures, prints a table, writes rows. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { type BenchCommand, readArguments } from './arguments.ts';
import { benchProxy, proxyBenchTools } from './proxy/proxy.ts';
import { table } from './rows.ts';
import { Stage } from './stage.ts';
import { assertTools } from './tools.ts';

function complain(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

/** What a figure means little without. */
function describeMachine(): string {
  const haproxy = execFileSync('haproxy', ['-v'], { encoding: 'utf8' }).split(' ').slice(0, 3).join(' ');
  const load = loadavg()[0]!;
  const busy = load > 1 ? ': others are at work, expect noise' : '';
  return (
    `${availableParallelism()} cores of ${cpus()[0]?.model ?? 'unknown make'}, Node ${process.version}, ` +
    `${haproxy}; load average ${load.toFixed(1)}${busy}`
  );
}

/** Exit codes after a signal, as shells have them. */
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Resolves with the exit code. Whatever it started has ended by then, also after an error or a signal. */
async function measure(command: BenchCommand): Promise<number> {
  assertTools(proxyBenchTools);
  const machine = describeMachine();
  complain(machine);
  const stage = new Stage();
  let interrupted: number | null = null;
  for (const [signal, code] of Object.entries(exitCodes))
    process.once(signal, () => {
      interrupted = code;
      complain('stopping');
      stage.close().catch((error: Error) => complain(error.message));
    });
  try {
    const rows = await benchProxy(stage, command, complain);
    process.stdout.write(`${machine}\n\n${table(rows)}\n`);
    if (command.json !== null) writeFileSync(command.json, `${JSON.stringify(rows, null, 2)}\n`);
  } catch (error) {
    if (interrupted === null) throw error;
  } finally {
    await stage.close();
  }
  return interrupted ?? 0;
}

async function main(): Promise<number> {
  const command = readArguments(process.argv.slice(2));
  if ('misuse' in command) {
    complain(command.misuse);
    return 2;
  }
  try {
    return await measure(command);
  } catch (error) {
    complain(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

process.exitCode = await main();
