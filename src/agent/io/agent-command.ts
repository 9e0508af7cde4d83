/** `starling agent`: reads its options, runs one agent until it is told to stop. */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { Fault, messageOf } from '../../core.ts';
import { nearest } from '../consul/fields.ts';
import {
  type AgentSettings,
  agentSettings,
  optionNames,
  optionsFromEnvironment,
  optionsFromFile,
  type RawOptions,
} from '../settings.ts';
import { Agent } from './agent.ts';
import { machineFacts } from './facts.ts';
import { createLogger } from './logger.ts';

/** Every option with its meaning, for `starling agent --help`. */
export const agentUsage = `Usage: starling agent [options]

Runs this host's agent until SIGTERM or SIGINT, on which it leaves the mesh gracefully. Every option can also
be set as STARLING_<NAME> in the environment, or by its name in a --config file (YAML or JSON).

  --bootstrap                    start a new mesh here
  --join ADDR                    enter a mesh through a running agent (repeatable); takes a token
  --token T, --token-file F      the token, from \`starling token create\`
  --dev                          a one-host mesh on 127.0.0.1, its directory removed at the end

  --data-dir DIR                 identity and replica (./starling-data; /var/lib/starling as root)
  --name NAME                    host name in the mesh, a DNS label (the OS host name)
  --datacenter DC, --zone Z      locality (dc1, none)
  --bind IP                      gossip and inbound proxy address (0.0.0.0; 127.0.0.1 with --dev)
  --advertise IP                 how others reach it (the default route's address, or --bind)
  --gossip-port N                libp2p on TCP, join requests on UDP (7946)
  --inbound-port N               mTLS port of all local services (21000)
  --outbound ADDR:PORT           outbound HTTP port, service by Host (127.0.0.1:15001; none)
  --http ADDR:PORT               local API; also unix:PATH (127.0.0.1:8500)
  --dns ADDR:PORT                DNS over UDP and TCP (127.0.0.1:8600; none)
  --domain D                     suffix of mesh names (mesh)
  --vip-range CIDR               loopback addresses handed to services (127.64.0.0/16)
  --services PATH                file or folder of service definitions, watched
  --proxy embedded|none          the data plane that this agent configures (embedded)
  --proxy-workers N              threads that carry traffic, each with its own connections (1; 0 takes the agent's)
  --default-intention allow|deny mesh-wide default, with --bootstrap (deny)
  --svid-ttl D                   lifetime of service certificates (12h)
  --root-ttl D                   lifetime of a root; it is replaced after two thirds (2160h)
  --trustees PROFILE             who holds the root: standard (2 of 3, 3 of 5, 4 of 7 hosts sign together),
                                 high-assurance (2 of 3, 4 of 5, 5 of 7), or founder (that host alone)
  --trustee-settle D             how long a host must be up before it may hold a share of the root (30s)
  --trustee-absence D            how long a trustee may be away before another takes its seat (10m)
  --config FILE                  options from a file
  --log-format json|text, --log-level debug|info|warn|error
`;

/** Runs the command; resolves with the exit code: 0 stopped, 1 could not run, 2 misused. */
export async function runAgentCommand(argv: readonly string[]): Promise<number> {
  let settings: AgentSettings;
  try {
    const flags = readFlags(argv);
    if (flags.help === true) {
      process.stdout.write(agentUsage);
      return 0;
    }
    settings = await settingsOf(flags);
  } catch (error) {
    return complain(error, 2);
  }
  try {
    await run(settings);
    return 0;
  } catch (error) {
    return complain(error, error instanceof Fault && unsaid.has(error.code) ? 2 : 1);
  } finally {
    // There are keys in it.
    if (settings.isDataDirTemporary) await rm(settings.dataDir, { recursive: true, force: true });
  }
}

/** Codes for an option that was left out, which only the data directory can tell. */
const unsaid: ReadonlySet<string> = new Set(['no-mesh', 'token-missing']);

/** One line for what a user or the system did; a bug keeps its stack. */
function complain(error: unknown, code: number): number {
  if (!(error instanceof Fault)) throw error;
  process.stderr.write(`starling: ${error.message.replaceAll('\n', ' ')}\n`);
  return code;
}

function readFlags(argv: readonly string[]): RawOptions {
  const options: { [name: string]: { type: 'string' | 'boolean'; multiple?: boolean } } = {
    config: { type: 'string' },
    help: { type: 'boolean' },
  };
  for (const [name, shape] of Object.entries(optionNames))
    options[name] = { type: shape === 'switch' ? 'boolean' : 'string', multiple: shape === 'list' };
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false })
      .values as RawOptions;
  } catch (error) {
    throw new Fault('bad-option', withSuggestion(messageOf(error).split('. ')[0]!, Object.keys(options)));
  }
}

/** In the words of the other commands. */
function withSuggestion(problem: string, known: readonly string[]): string {
  const unknown = /^Unknown option '--([^']+)'/.exec(problem)?.[1];
  const near = unknown === undefined ? null : nearest(unknown, known);
  return near === null ? problem : `${problem} (Did you mean --${near}?)`;
}

async function settingsOf({ config, ...flags }: RawOptions): Promise<AgentSettings> {
  const environment = optionsFromEnvironment(process.env);
  const path = config ?? process.env.STARLING_CONFIG;
  const file = typeof path === 'string' ? [optionsFromFile(await readConfig(path), path)] : [];
  return agentSettings([flags, environment, ...file], machineFacts());
}

async function readConfig(path: string): Promise<unknown> {
  try {
    const { parse } = await import('yaml');
    return parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Fault('bad-config', `cannot read ${path}: ${messageOf(error)}`, { field: 'config' });
  }
}

async function run(settings: AgentSettings): Promise<void> {
  // Listened for from the beginning: a signal during the start must not kill an agent half way.
  const signal = new Promise<void>((done) => {
    process.once('SIGTERM', done);
    process.once('SIGINT', done);
  });
  const agent = await Agent.start(settings, createLogger(settings));
  process.stdout.write(`${agent.readyLine()}\n`);
  if (agent.operatorTokenPath !== null)
    process.stdout.write(`starling: the operator token is in ${agent.operatorTokenPath}\n`);
  flushCompileCache(); // A kill must not cost the next start what this one compiled.
  saveMemory();
  await Promise.race([signal.then(() => agent.leave()), agent.asked.then(() => agent.stop())]);
}

/**
 * From now on the heaps, the membership thread's too, grow in smaller steps, shrink after a burst, and drop the
 * code of what has not run since the collection before: 20 MB, at no CPU. Not on the command line, nor before
 * all is loaded: compiled code, Node's own included, is refused by an engine that runs with other flags than the
 * one that compiled it, which costs a start 30 ms of CPU. Each flag is read when a collection begins.
 */
function saveMemory(): void {
  setFlagsFromString('--memory-saver-mode');
  setFlagsFromString('--bytecode-old-age=1');
}
