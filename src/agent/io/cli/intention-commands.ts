/** `intention`: who may call whom, one pair at a time. */
import { type Command, Option } from 'commander';
import { Fault } from '../../../core.ts';
import { readStructured } from './files.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run } from './invocation.ts';
import { type Cell, printable, table, tinted } from './output.ts';
import { anotherHeader, methodName, notEmpty, partyArgument, reason, requestPath } from './values.ts';

interface Intention {
  readonly SourceName: string;
  readonly DestinationName: string;
  readonly Action?: string;
  readonly Permissions?: readonly object[];
  readonly Precedence: number;
  readonly Description: string;
  readonly UpdatedAt: string;
}

interface CreateOptions extends CommonOptions {
  readonly allow?: boolean;
  readonly deny?: boolean;
  readonly permissions?: string;
  readonly description?: string;
}

interface CheckOptions extends CommonOptions {
  readonly method?: string;
  readonly path?: string;
  readonly header?: readonly string[];
}

interface MatchOptions extends CommonOptions {
  readonly by: string;
}

function exactPath(source: string, destination: string): string {
  return `/v1/connect/intentions/exact?${new URLSearchParams({ source, destination })}`;
}

async function create(
  source: string,
  destination: string,
  options: CreateOptions,
  command: Command,
): Promise<void> {
  const { allow, deny, permissions, description = '' } = options;
  const said = [allow, deny, permissions].filter((one) => one !== undefined);
  if (said.length !== 1) command.error('say one of --allow, --deny and --permissions');
  await run(options, async (invocation) => {
    const action = allow === true ? 'allow' : 'deny';
    const what =
      permissions === undefined ? { Action: action } : { Permissions: await readStructured(permissions) };
    const operatorToken = await invocation.operatorToken();
    const body = { ...what, Description: description };
    const before = await decisionBefore(invocation, source, destination);
    await invocation.client.call('PUT', exactPath(source, destination), { body, operatorToken });
    const decision = permissions === undefined ? action : 'by request';
    invocation.show(
      { source, destination, action: decision, before },
      () => `${source} -> ${destination}: ${decision}${before === null ? '' : ` instead of ${before}`}`,
    );
    return 0;
  });
}

/** What an intention for this pair says now, which a new one takes the place of; null without one. */
async function decisionBefore(
  { client }: Invocation,
  source: string,
  destination: string,
): Promise<string | null> {
  const { status, text } = await client.send('GET', exactPath(source, destination));
  return status === 200 ? decisionCell(JSON.parse(text) as Intention).text : null;
}

function decisionCell({ Action, Permissions = [] }: Intention): Exclude<Cell, string> {
  if (Action === undefined) return { text: `${Permissions.length} permissions`, tone: 'warn' };
  return { text: Action, tone: Action === 'allow' ? 'good' : 'bad' };
}

function intentionTable(found: readonly Intention[]): string {
  return table(
    ['SOURCE', 'DESTINATION', 'ACTION', 'PRECEDENCE', 'UPDATED', 'DESCRIPTION'],
    found.map((intention) => [
      intention.SourceName,
      intention.DestinationName,
      decisionCell(intention),
      String(intention.Precedence),
      intention.UpdatedAt,
      printable(intention.Description),
    ]),
  );
}

async function list(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const found = await invocation.client.get<Intention[]>('/v1/connect/intentions');
    invocation.show(found, () => intentionTable(found));
    return 0;
  });
}

async function match(name: string, options: MatchOptions): Promise<void> {
  const { by } = options;
  await run(options, async (invocation) => {
    const query = new URLSearchParams({ by, name });
    const answer = await invocation.client.get<{ readonly [name: string]: Intention[] }>(
      `/v1/connect/intentions/match?${query}`,
    );
    const found = answer[name] ?? [];
    invocation.show(found, () => intentionTable(found));
    return 0;
  });
}

interface Verdict {
  readonly Allowed: boolean;
  readonly Rule: string;
  readonly ByRequest?: boolean;
}

/** Exit 1 when the call would be denied. */
async function check(source: string, destination: string, options: CheckOptions): Promise<void> {
  await run(options, async (invocation) => {
    const { method, path, header = [] } = options;
    const query = new URLSearchParams({ source, destination });
    if (method !== undefined) query.set('method', method);
    if (path !== undefined) query.set('path', path);
    for (const one of header) query.append('header', one);
    const answer = await invocation.client.get<Verdict>(`/v1/connect/intentions/check?${query}`);
    const asksRequest = method !== undefined || path !== undefined || header.length > 0;
    const hint =
      answer.ByRequest === true && !asksRequest
        ? '; it depends on the request: ask with --method, --path, --header'
        : '';
    const verdict = answer.Allowed ? tinted('allowed', 'good') : tinted('denied', 'bad');
    invocation.show(
      {
        source,
        destination,
        allowed: answer.Allowed,
        rule: answer.Rule,
        byRequest: answer.ByRequest === true,
      },
      () => `${verdict} by ${answer.Rule}${hint}`,
    );
    return answer.Allowed ? 0 : 1;
  });
}

async function remove(source: string, destination: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const there = await invocation.client.send('GET', exactPath(source, destination));
    if (there.status === 404) throw new Fault('refused', `there is no intention ${source} -> ${destination}`);
    await invocation.client.call('DELETE', exactPath(source, destination), { operatorToken });
    invocation.show({ source, destination, deleted: true }, () => `deleted ${source} -> ${destination}`);
    return 0;
  });
}

function ofPair(command: Command): Command {
  return command.addArgument(partyArgument('<source>')).addArgument(partyArgument('<destination>'));
}

export function addIntentionCommands(program: Command): void {
  const intention = program.command('intention').description('who may call whom');
  operatorCommand(ofPair(intention.command('create')))
    .description('allow or deny calls; * stands for any service')
    .option('--allow', 'let the calls through')
    .option('--deny', 'refuse the calls')
    .option('--permissions <file>', 'decide by request: a list of permissions, JSON or YAML', notEmpty)
    .option('--description <text>', 'why', reason)
    .action(create);
  common(intention.command('list').description('every intention, the one that decides first')).action(list);
  common(intention.command('match').addArgument(partyArgument('<service>')))
    .description('intentions that concern a service, the one that decides first')
    .addOption(
      new Option('--by <side>', 'as which side').choices(['destination', 'source']).default('destination'),
    )
    .action(match);
  common(ofPair(intention.command('check')))
    .description('exit 0 if calls are allowed, 1 if denied')
    .option('--method <method>', 'of one request', methodName)
    .option('--path <path>', 'of one request', requestPath)
    .option('--header <name:value>', 'of one request; repeatable', anotherHeader, [])
    .action(check);
  operatorCommand(ofPair(intention.command('delete')))
    .description('take an intention back')
    .action(remove);
}
