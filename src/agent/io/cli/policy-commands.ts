/** `intention` and `config`: who may call whom, and the rest of the mesh-wide policy. */
import type { Command } from 'commander';
import { supportedKinds } from '../../entries/entry.ts';
import { readEntries } from './files.ts';
import { type CommonOptions, common, operatorCommand, run, segment } from './invocation.ts';
import { print, printable, printJson, table, tinted } from './output.ts';
import { entryNameArgument, kindArgument, notEmpty, partyArgument, reason } from './values.ts';

interface Intention {
  readonly SourceName: string;
  readonly DestinationName: string;
  readonly Action: string;
  readonly Precedence: number;
  readonly Description: string;
  readonly UpdatedAt: string;
}

interface CreateOptions extends CommonOptions {
  readonly allow?: boolean;
  readonly deny?: boolean;
  readonly description?: string;
}

function exactPath(source: string, destination: string): string {
  return `/v1/connect/intentions/exact?${new URLSearchParams({ source, destination })}`;
}

async function createIntention(
  source: string,
  destination: string,
  options: CreateOptions,
  command: Command,
): Promise<void> {
  if ((options.allow === true) === (options.deny === true)) command.error('say one of --allow and --deny');
  await run(options, async (invocation) => {
    const action = options.allow === true ? 'allow' : 'deny';
    const body = { Action: action, Description: options.description ?? '' };
    const operatorToken = await invocation.operatorToken();
    await invocation.client.call('PUT', exactPath(source, destination), { body, operatorToken });
    invocation.show({ source, destination, action }, () => `${source} -> ${destination}: ${action}`);
    return 0;
  });
}

async function listIntentions(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const found = await invocation.client.get<Intention[]>('/v1/connect/intentions');
    invocation.show(found, () =>
      table(
        ['SOURCE', 'DESTINATION', 'ACTION', 'PRECEDENCE', 'UPDATED', 'DESCRIPTION'],
        found.map((intention) => [
          intention.SourceName,
          intention.DestinationName,
          { text: intention.Action, tone: intention.Action === 'allow' ? 'good' : 'bad' },
          String(intention.Precedence),
          intention.UpdatedAt,
          printable(intention.Description),
        ]),
      ),
    );
    return 0;
  });
}

/** Exit 1 when the call would be denied. */
async function checkIntention(source: string, destination: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const query = new URLSearchParams({ source, destination });
    const answer = await invocation.client.get<{ Allowed: boolean; Rule: string }>(
      `/v1/connect/intentions/check?${query}`,
    );
    const verdict = answer.Allowed ? tinted('allowed', 'good') : tinted('denied', 'bad');
    invocation.show(
      { source, destination, allowed: answer.Allowed, rule: answer.Rule },
      () => `${verdict} by ${answer.Rule}`,
    );
    return answer.Allowed ? 0 : 1;
  });
}

async function deleteIntention(source: string, destination: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    await invocation.client.call('DELETE', exactPath(source, destination), { operatorToken });
    invocation.show({ source, destination, deleted: true }, () => `deleted ${source} -> ${destination}`);
    return 0;
  });
}

/** Every entry of the file is checked before the first is written. */
async function writeConfig(file: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const entries = await readEntries(file);
    const operatorToken = await invocation.operatorToken();
    for (const { entry } of entries)
      await invocation.client.call('PUT', '/v1/config', { body: entry, operatorToken });
    const written = entries.map(({ kind, name }) => ({ kind, name }));
    invocation.show({ written }, () => written.map(({ kind, name }) => `wrote ${kind}/${name}`).join('\n'));
    return 0;
  });
}

async function readConfig(kind: string, name: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    printJson(await invocation.client.get(`/v1/config/${segment(kind)}/${segment(name)}`));
    return 0;
  });
}

async function listConfig(kind: string | undefined, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const entries: { readonly Kind: string; readonly Name: string }[] = [];
    for (const one of kind === undefined ? supportedKinds : [kind])
      entries.push(...(await invocation.client.get<typeof entries>(`/v1/config/${segment(one)}`)));
    invocation.show(entries, () =>
      table(
        ['KIND', 'NAME'],
        entries.map(({ Kind, Name }) => [Kind, Name]),
      ),
    );
    return 0;
  });
}

async function deleteConfig(kind: string, name: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    await invocation.client.call('DELETE', `/v1/config/${segment(kind)}/${segment(name)}`, { operatorToken });
    if (invocation.json) printJson({ kind, name, deleted: true });
    else print(`deleted ${kind}/${name}`);
    return 0;
  });
}

function ofPair(command: Command): Command {
  return command.addArgument(partyArgument('<source>')).addArgument(partyArgument('<destination>'));
}

function ofEntry(command: Command): Command {
  return command.addArgument(kindArgument('<kind>')).addArgument(entryNameArgument());
}

export function addPolicyCommands(program: Command): void {
  const intention = program.command('intention').description('who may call whom');
  operatorCommand(ofPair(intention.command('create')))
    .description('allow or deny calls; * stands for any service')
    .option('--allow', 'let the calls through')
    .option('--deny', 'refuse the calls')
    .option('--description <text>', 'why', reason)
    .action(createIntention);
  common(intention.command('list').description('every intention, the one that decides first')).action(
    listIntentions,
  );
  common(ofPair(intention.command('check')))
    .description('exit 0 if calls are allowed, 1 if denied')
    .action(checkIntention);
  operatorCommand(ofPair(intention.command('delete')))
    .description('take an intention back')
    .action(deleteIntention);
  const config = program.command('config').description('config entries: the policy of the whole mesh');
  operatorCommand(
    config.command('write').argument('<file>', 'one entry or a list; - for standard input', notEmpty),
  )
    .description('write config entries')
    .action(writeConfig);
  common(ofEntry(config.command('read')).description('print one entry')).action(readConfig);
  common(config.command('list').addArgument(kindArgument('[kind]')).description('list entries')).action(
    listConfig,
  );
  operatorCommand(ofEntry(config.command('delete')).description('delete one entry')).action(deleteConfig);
}
