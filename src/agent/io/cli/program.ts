/** The commands of `starling`, and how a run of one ends: 0 done, 1 refused or false, 2 misuse. */
import { Command, CommanderError } from 'commander';
import { Fault } from '../../../core.ts';
import { lineOf } from '../http/failure.ts';
import { addCaCommands } from './ca-commands.ts';
import { addCompletionCommand } from './completion.ts';
import { addConfigCommands } from './config-commands.ts';
import { addDebugCommand } from './debug-command.ts';
import { addExplainCommand } from './explain-command.ts';
import { addIntentionCommands } from './intention-commands.ts';
import { addMeshCommands } from './mesh-commands.ts';
import { addServiceCommands } from './service-commands.ts';
import { addSnapshotCommands } from './snapshot-commands.ts';
import { addTrafficCommands } from './traffic-commands.ts';
import { addTrustCommands } from './trust-commands.ts';

const misuse = 2;

export function buildProgram(version: string): Command {
  const program = new Command('starling')
    .description('A service mesh for virtual machines with no servers.')
    .version(version, '-V, --version')
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(`starling: ${oneLine(message)}\n`) });
  program.command('agent').description('run the agent of this host; see starling agent --help');
  addMeshCommands(program);
  addTrafficCommands(program);
  addServiceCommands(program);
  addIntentionCommands(program);
  addConfigCommands(program);
  addTrustCommands(program);
  addCaCommands(program);
  addExplainCommand(program);
  addSnapshotCommands(program);
  addDebugCommand(program);
  addCompletionCommand(program);
  inherit(program);
  return program;
}

/** Subcommands made before their parent was set up take its settings over here. */
function inherit(command: Command): void {
  for (const sub of command.commands) {
    sub.copyInheritedSettings(command).helpCommand(false);
    inherit(sub);
  }
}

function oneLine(message: string): string {
  return message
    .replace(/^error: /, '')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ');
}

/** Runs the command that `args` name and sets the exit code. Never rejects on what users or agents do. */
export async function runProgram(program: Command, args: readonly string[]): Promise<void> {
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = exitCodeOf(error);
    else if (error instanceof Fault) {
      process.stderr.write(`starling: ${oneLine(lineOf(error))}\n`);
      process.exitCode = error.code === 'bad-option' ? misuse : 1;
    } else throw error;
  }
}

/** Asking for help or the version is no misuse, and commander's own code is 0; everything else it ends is. */
function exitCodeOf({ exitCode }: CommanderError): number {
  return exitCode === 0 ? 0 : misuse;
}
