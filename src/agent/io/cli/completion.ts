/** Shell completion, made from the commands that there are. */
import { Argument, type Command } from 'commander';
import { optionNames } from '../../settings.ts';
import { print } from './output.ts';

interface Completion {
  /** Words before, such as `intention create`; '' at the top. */
  readonly path: string;
  readonly words: readonly string[];
}

/** The agent reads its flags itself. */
const agentFlags = [...Object.keys(optionNames), 'config', 'help'].map((name) => `--${name}`);

/** What may follow each command: its subcommands, the words that its arguments may be, and its options. */
export function completions(command: Command, path: string[] = []): Completion[] {
  const subcommands = command.commands.map((sub) => sub.name());
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const options = command.options
    .map((option) => option.long)
    .filter((long) => long !== undefined && long !== null);
  const flags = command.name() === 'agent' ? agentFlags : options;
  const own = { path: path.join(' '), words: [...subcommands, ...choices, ...flags] };
  return [own, ...command.commands.flatMap((sub) => completions(sub, [...path, sub.name()]))];
}

function cases(program: Command): string {
  return completions(program)
    .map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`)
    .join('\n');
}

/** One script for both shells: zsh runs bash's by its compatibility layer. */
function script(program: Command, shell: 'bash' | 'zsh'): string {
  const preamble = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : '';
  return `${preamble}_starling() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path='' words='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in -*) break ;; esac
    path="\${path:+$path }$word"
  done
  # Words that are no command of their own are arguments of the one before them.
  until _starling_words "$path"; do
    case "$path" in *' '*) path="\${path% *}" ;; *) break ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
_starling_words() {
  case "$1" in
${cases(program)}
    *) words='' && return 1 ;;
  esac
}
complete -F _starling starling
`.trimEnd();
}

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh']))
    .description('print a completion script; use: source <(starling completion bash)')
    .action((shell: 'bash' | 'zsh') => print(script(program, shell)));
}
