/** The entry of `starling`: the agent, or a command that talks to one. */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Compiled code is kept beside the packages, where only who installed them can write; without leave to write
// there, every start compiles anew. It halves the start and saves the agent some 25 MB.
enableCompileCache(join(import.meta.dirname, '../../../node_modules/.cache/starling'));

const args = process.argv.slice(2);

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever read our output has seen enough, as `starling members | head -1` has.
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

if (args[0] === 'agent') {
  // The agent's libraries take a while to load: the other commands do without them.
  const { runAgentCommand } = await import('./agent-command.ts');
  process.exit(await runAgentCommand(args.slice(1)));
} else {
  const { version } = await import('../version.ts');
  const { buildProgram, runProgram } = await import('./cli/program.ts');
  await runProgram(buildProgram(version), args);
}
