/** Shell completion, made from the commands that there are. */
import { Argument, type Command } from 'commander';
import { optionChoices, optionNames } from '../../settings.ts';
import { print } from './output.ts';

interface Completion {
  /** Words before, such as `intention create`; '' at the top. */
  readonly path: string;
  readonly words: readonly string[];
  /** Options that a value follows, each with the words that this may be; none where it may be anything. */
  readonly values: { readonly [option: string]: readonly string[] };
}

const agentChoices: { readonly [name: string]: readonly string[] } = optionChoices;

/** The agent reads its flags itself. */
const agentOptions: Completion = {
  path: 'agent',
  words: [...Object.keys(optionNames), 'config', 'help'].map((name) => `--${name}`),
  values: Object.fromEntries(
    Object.entries({ ...optionNames, config: 'value' })
      .filter(([, shape]) => shape !== 'switch')
      .map(([name]) => [`--${name}`, agentChoices[name] ?? []]),
  ),
};

/** What may follow each command: its subcommands, the words that its arguments may be, and its options. */
export function completions(command: Command, path: string[] = []): Completion[] {
  if (path.join(' ') === agentOptions.path) return [agentOptions];
  const subcommands = command.commands.map((sub) => sub.name());
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const options = command.options.flatMap(({ long, required, argChoices }) =>
    typeof long === 'string' ? [{ long, required, choices: argChoices ?? [] }] : [],
  );
  const own = {
    path: path.join(' '),
    words: [...subcommands, ...choices, ...options.map(({ long }) => long)],
    values: Object.fromEntries(
      options.filter(({ required }) => required).map(({ long, choices }) => [long, choices]),
    ),
  };
  return [own, ...command.commands.flatMap((sub) => completions(sub, [...path, sub.name()]))];
}

function commandCases(all: readonly Completion[]): string {
  return all.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`).join('\n');
}

function valueCases(all: readonly Completion[]): string {
  const lines = all.flatMap(({ path, values }) =>
    Object.entries(values).map(([option, words]) => `    '${path} ${option}') words='${words.join(' ')}' ;;`),
  );
  return lines.join('\n');
}

/** One script for both shells: zsh runs bash's by its compatibility layer. */
function script(program: Command, shell: 'bash' | 'zsh'): string {
  const all = completions(program);
  const preamble = shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : '';
  return `${preamble}_starling() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path='' words='' option='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      # Bash takes --option=value apart.
      =) continue ;;
      -*) option="$word"; _starling_values "$path" "$option" || option='' ;;
      *)
        # A value of the option before it, a command, or else an argument of one.
        if [ -n "$option" ]; then option=''
        elif _starling_words "\${path:+$path }$word"; then path="\${path:+$path }$word"; fi ;;
    esac
  done
  if [ -n "$option" ]; then _starling_values "$path" "$option"; else _starling_words "$path"; fi
  if [ "$current" = = ]; then current=''; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
_starling_words() {
  case "$1" in
${commandCases(all)}
    *) words='' && return 1 ;;
  esac
}
_starling_values() {
  case "$1 $2" in
${valueCases(all)}
    *) return 1 ;;
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
