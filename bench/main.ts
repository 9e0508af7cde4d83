/** `npm run bench -- proxy|gossip|trust|policy [--json FILE] ...`: measures, prints a table, writes rows. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { type BenchCommand, readArguments } from './arguments.ts';
import { benchGossip, gossipBenchTools } from './gossip/gossip.ts';
import { isIsolated, runIsolated } from './gossip/isolation.ts';
import { benchPolicy } from './policy/policy.ts';
import { matrix } from './proxy/comparison.ts';
import { benchProxy, proxyBenchTools } from './proxy/proxy.ts';
import { type Row, table } from './rows.ts';
import { Stage } from './stage.ts';
import { assertTools } from './tools.ts';
import { benchTrust, trustBenchTools } from './trust/trust.ts';

function complain(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

type Say = (text: string) => void;

interface Bench {
  readonly tools: readonly string[];
  /** The peer's name and version. */
  peer(): string;
  run(stage: Stage, say: Say): Promise<Row[]>;
  /** The rows for people. */
  print(rows: readonly Row[]): string;
}

function benchOf(command: BenchCommand): Bench {
  if (command.bench === 'proxy')
    return {
      tools: proxyBenchTools,
      peer: () => firstLine('haproxy', '-v').split(' ').slice(0, 3).join(' '),
      run: (stage, say) => benchProxy(stage, command, say),
      print: matrix,
    };
  if (command.bench === 'trust')
    return {
      tools: trustBenchTools,
      peer: () => firstLine('openssl', 'version'),
      run: (stage, say) => benchTrust(stage, command, say),
      print: table,
    };
  if (command.bench === 'policy')
    return {
      tools: [],
      peer: () => 'compared with the same from scratch',
      run: async (_, say) => benchPolicy(command, say),
      print: table,
    };
  return {
    tools: gossipBenchTools,
    peer: () => `serf ${firstLine('serf', 'version')}`,
    run: (stage, say) => benchGossip(stage, command, say),
    print: table,
  };
}

function firstLine(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0]!;
}

/** What a figure means little without. */
function describeMachine(peer: string): string {
  const load = loadavg()[0]!;
  const busy = load > 1 ? ': others are at work, expect noise' : '';
  return (
    `${availableParallelism()} cores of ${cpus()[0]?.model ?? 'unknown make'}, Node ${process.version}, ` +
    `${peer}; load average ${load.toFixed(1)}${busy}`
  );
}

/** Exit codes after a signal, as shells have them. */
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Resolves with the exit code. Whatever it started has ended by then, also after an error or a signal. */
async function measure(command: BenchCommand): Promise<number> {
  const bench = benchOf(command);
  assertTools(bench.tools);
  if (command.bench === 'gossip' && !isIsolated()) return runIsolated(complain);
  const machine = describeMachine(bench.peer());
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
    const rows = await bench.run(stage, complain);
    process.stdout.write(`${machine}\n\n${bench.print(rows)}\n`);
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
