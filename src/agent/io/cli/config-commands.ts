/** `config` and `apply`: the entries that make up the policy of the whole mesh, and what they said before. */
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import { parseDuration } from '../../consul/duration.ts';
import type { DryRun } from '../../entries/dry-run.ts';
import { type Difference, differences } from '../../entries/history.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import { type Waited, waitedText, waitForAll } from './convergence.ts';
import { readEntries } from './files.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { print, printable, printJson, table, tinted } from './output.ts';
import { entryNameArgument, kindArgument, notEmpty, revisionPrefix, waitTimeout } from './values.ts';

interface WaitOptions extends CommonOptions {
  readonly wait?: boolean;
  readonly timeout: string;
}

interface WriteOptions extends WaitOptions {
  readonly dryRun?: boolean;
}

interface RollbackOptions extends WaitOptions {
  readonly to?: string;
}

/** What the API answers to a write. */
interface Written {
  readonly written: readonly { readonly kind: string; readonly name: string }[];
}

/** One version, as the API shows it. */
interface Version {
  readonly revision: string;
  readonly at: string;
  readonly author: string;
  readonly entry: { readonly [field: string]: unknown } | null;
  readonly inForce: boolean;
}

/** Shows what was done; with `--wait` also where it holds. Exit 1 where it does not everywhere. */
async function concluded(
  invocation: Invocation,
  options: WaitOptions,
  done: object,
  text: () => string,
): Promise<number> {
  if (options.wait !== true) {
    invocation.show(done, text);
    return 0;
  }
  if (!invocation.json) print(text());
  const waited: Waited = await waitForAll(invocation, parseDuration(options.timeout, '--timeout'));
  if (invocation.json) printJson({ ...done, ...waited });
  else print(waitedText(waited));
  return waited.converged ? 0 : 1;
}

/** All entries of the file, or none. */
async function write(file: string, options: WriteOptions): Promise<void> {
  await run(options, async (invocation) => {
    const { written: body } = await readEntries(file);
    if (options.dryRun === true) return outlook(invocation, body);
    const operatorToken = await invocation.operatorToken();
    const { written } = await invocation.client.call<Written>('POST', '/v1/mesh/config', {
      body,
      operatorToken,
    });
    const text = () => written.map(({ kind, name }) => `wrote ${kind}/${name}`).join('\n');
    return concluded(invocation, options, { written }, text);
  });
}

async function outlook(invocation: Invocation, body: unknown): Promise<number> {
  const run = await invocation.client.call<DryRun>('POST', '/v1/mesh/dry-run', { body });
  invocation.show(run, () => outlookText(run));
  return 0;
}

function outlookText({ entries, calls, overMs }: DryRun): string {
  const changes = entries.flatMap(({ kind, name, differences }) => [
    `${kind}/${name}${differences.length === 0 ? ': as it is' : ''}`,
    ...differences.map((difference) => `  ${differenceText(difference)}`),
  ]);
  if (calls.length === 0)
    return [...changes, 'no recent call through this host would be decided otherwise'].join('\n');
  const rows = calls.map(({ source, destination, calls, before, after, rule }) => [
    printable(source),
    printable(destination),
    String(calls),
    before,
    { text: after, tone: after === 'deny' ? 'bad' : 'warn' } as const,
    rule ?? 'default',
  ]);
  const over = `calls through this host of the last ${Math.round(overMs / 1000)}s that would be decided otherwise:`;
  return [...changes, over, table(['SOURCE', 'DESTINATION', 'CALLS', 'NOW', 'THEN', 'BY'], rows)].join('\n');
}

function differenceText({ path, before, after }: Difference): string {
  const side = (value: unknown) => printable(JSON.stringify(value));
  if (before === undefined) return tinted(`+ ${printable(path)}: ${side(after)}`, 'good');
  if (after === undefined) return tinted(`- ${printable(path)}: ${side(before)}`, 'bad');
  return `~ ${printable(path)}: ${side(before)} -> ${side(after)}`;
}

async function read(kind: string, name: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    printJson(await invocation.client.get(`/v1/config/${segment(kind)}/${segment(name)}`));
    return 0;
  });
}

async function list(kind: string | undefined, options: CommonOptions): Promise<void> {
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

async function remove(kind: string, name: string, options: WaitOptions): Promise<void> {
  await run(options, async (invocation) => {
    const path = `/v1/config/${segment(kind)}/${segment(name)}`;
    // The API, as Consul's, takes it for done; who mistyped a name is to know.
    const there = await invocation.client.send('GET', path);
    if (there.status === 404) throw new Fault('refused', `there is no ${kind}/${name}`);
    await deleteEntry(invocation, kind, name);
    return concluded(invocation, options, { kind, name, deleted: true }, () => `deleted ${kind}/${name}`);
  });
}

async function deleteEntry(invocation: Invocation, kind: string, name: string): Promise<void> {
  const operatorToken = await invocation.operatorToken();
  await invocation.client.call('DELETE', `/v1/config/${segment(kind)}/${segment(name)}`, { operatorToken });
}

async function versionsOf({ client }: Invocation, kind: string, name: string): Promise<readonly Version[]> {
  const path = `/v1/mesh/history/${segment(kind)}/${segment(name)}`;
  return (await client.get<{ readonly versions: readonly Version[] }>(path)).versions;
}

async function history(kind: string, name: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const versions = await versionsOf(invocation, kind, name);
    invocation.show(versions, () =>
      table(
        ['REVISION', 'WRITTEN', 'BY', 'IN FORCE', 'CHANGES'],
        versions.map((version, i) => [
          version.revision,
          version.at,
          version.author.slice(0, 8),
          version.inForce ? { text: 'yes', tone: 'good' } : '',
          changesText(version, versions[i + 1]),
        ]),
      ),
    );
    return 0;
  });
}

function changesText({ entry }: Version, before: Version | undefined): string {
  if (entry === null) return 'deleted';
  if (before === undefined || before.entry === null) return 'written';
  const changed = differences(before.entry, entry);
  const paths = changed.slice(0, 3).map(({ path }) => printable(path));
  return changed.length === 0 ? 'written again' : `${paths.join(', ')}${changed.length > 3 ? ', …' : ''}`;
}

/** Without revisions what the last write changed; with one, what became of it since. */
async function diff(
  kind: string,
  name: string,
  from: string | undefined,
  to: string | undefined,
  options: CommonOptions,
): Promise<void> {
  await run(options, async (invocation) => {
    const versions = await versionsOf(invocation, kind, name);
    const after = to === undefined ? versions[0]! : versionNamed(versions, to);
    const before = from === undefined ? versions[1] : versionNamed(versions, from);
    const changed = differences(before?.entry ?? {}, after.entry ?? {});
    const shown = { from: before?.revision ?? null, to: after.revision, differences: changed };
    invocation.show(shown, () =>
      changed.length === 0 ? 'no difference' : changed.map(differenceText).join('\n'),
    );
    return 0;
  });
}

/** `Fault('unknown-revision')` unless exactly one version's name begins so. */
function versionNamed(versions: readonly Version[], revision: string): Version {
  const found = versions.filter((version) => version.revision.startsWith(revision));
  if (found.length === 1) return found[0]!;
  const why = found.length === 0 ? 'there is no version' : 'there are several versions';
  throw new Fault('unknown-revision', `${why} ${revision}; starling config history lists them`);
}

/** Writes an earlier version again, which is a write like any other. */
async function rollback(kind: string, name: string, options: RollbackOptions): Promise<void> {
  await run(options, async (invocation) => {
    const versions = await versionsOf(invocation, kind, name);
    const wanted = options.to === undefined ? versions[1] : versionNamed(versions, options.to);
    if (wanted === undefined) throw new Fault('unknown-revision', `${kind}/${name} was written only once`);
    const operatorToken = await invocation.operatorToken();
    if (wanted.entry === null) await deleteEntry(invocation, kind, name);
    else await invocation.client.call('PUT', '/v1/config', { body: wanted.entry, operatorToken });
    const done = { kind, name, revision: wanted.revision, deleted: wanted.entry === null };
    const what = wanted.entry === null ? 'is deleted again, as it was' : 'says again what it said';
    const text = () => `${kind}/${name} ${what} at ${wanted.at} (${wanted.revision})`;
    return concluded(invocation, options, done, text);
  });
}

function ofEntry(command: Command): Command {
  return command.addArgument(kindArgument('<kind>')).addArgument(entryNameArgument());
}

function waiting(command: Command): Command {
  return operatorCommand(command)
    .option('--wait', 'until every live host’s proxy has taken it on; exit 1 and their names if not')
    .option('--timeout <duration>', 'how long to wait', waitTimeout, '10s');
}

function writing(command: Command): Command {
  return waiting(command.argument('<file>', 'one entry or a list; - for standard input', notEmpty))
    .option('--dry-run', 'only say what would change')
    .action(write);
}

export function addConfigCommands(program: Command): void {
  const config = program.command('config').description('config entries: the policy of the whole mesh');
  writing(config.command('write')).description('write config entries');
  writing(program.command('apply')).description('as config write');
  common(ofEntry(config.command('read')).description('print one entry')).action(read);
  common(config.command('list').addArgument(kindArgument('[kind]')).description('list entries')).action(list);
  waiting(ofEntry(config.command('delete')))
    .description('delete one entry')
    .action(remove);
  common(ofEntry(config.command('history')))
    .description('the versions of an entry, the newest first')
    .action(history);
  common(ofEntry(config.command('diff')))
    .argument('[from]', 'a revision; the one before the last if it is not said', revisionPrefix)
    .argument('[to]', 'a revision; the last if it is not said', revisionPrefix)
    .description('what changed between two versions of an entry')
    .action(diff);
  waiting(ofEntry(config.command('rollback')))
    .description('write an earlier version of an entry again')
    .option('--to <revision>', 'which one; the one before the last if it is not said', revisionPrefix)
    .action(rollback);
}
