/** The entry of `starling`: the agent, or a command that talks to one. */

// bin/starling means these for this process, not for the scripts that it runs.
delete process.env.NODE_COMPILE_CACHE;
delete process.env.MALLOC_ARENA_MAX;

const given = process.argv.slice(2);
const args = given[0] === 'help' && given[1] === 'agent' ? ['agent', '--help'] : given;

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
