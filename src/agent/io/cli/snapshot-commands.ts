/**
 * `snapshot`: the policy of the mesh in one file, and back. Registrations are not in it: each belongs to its host,
 * which has them on its own disk. Nor are keys and tokens: whoever holds them keeps holding them.
 */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { Fault, messageOf } from '../../../core.ts';
import { type ParsedEntry, parseConfigEntry } from '../../entries/entry.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import { readText } from './files.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { print, printable } from './output.ts';

const format = 'starling-snapshot';
const version = 1;
/** It holds no secret, yet says who may call whom. */
const fileMode = 0o600;
/** Many times what the policy of a large mesh comes to: whatever was saved can be restored. */
const maxSnapshotBytes = 256 * 1024 * 1024;

interface Snapshot {
  readonly format: typeof format;
  readonly version: number;
  readonly mesh: string;
  readonly savedAt: string;
  readonly entries: readonly object[];
}

/** What an entry is stored under, beside what its writer said. */
const bookkeeping: ReadonlySet<string> = new Set(['CreateIndex', 'ModifyIndex', 'Hash']);

async function save(file: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const snapshot = await snapshotOf(invocation);
    const text = JSON.stringify(snapshot, null, 2);
    if (file === '-') {
      print(text);
      return 0;
    }
    try {
      await writeFile(file, `${text}\n`, { mode: fileMode, flush: true });
    } catch (error) {
      throw new Fault('unwritable-file', `${file}: ${messageOf(error)}`);
    }
    const saved = snapshot.entries.length;
    invocation.show({ file, entries: saved }, () => `saved ${saved} config entries to ${printable(file)}`);
    return 0;
  });
}

async function snapshotOf({ client }: Invocation): Promise<Snapshot> {
  const { mesh } = await client.get<{ mesh: string }>('/v1/mesh/status');
  const entries: object[] = [];
  for (const kind of supportedKinds)
    for (const entry of await client.get<object[]>(`/v1/config/${segment(kind)}`))
      entries.push(Object.fromEntries(Object.entries(entry).filter(([field]) => !bookkeeping.has(field))));
  return { format, version, mesh, savedAt: new Date().toISOString(), entries };
}

/** Entries that others refer to come first, so that no write is refused for what is still to come. */
const order = [
  'proxy-defaults',
  'mesh',
  'service-defaults',
  'service-resolver',
  'service-splitter',
  'service-router',
];

/** With one of these in the mesh, some writes of other entries are refused: those not wanted go first. */
const constraining: ReadonlySet<string> = new Set(['service-router', 'service-splitter', 'service-resolver']);

interface EntryName {
  readonly kind: string;
  readonly name: string;
}

function byReference(a: { readonly kind: string }, b: { readonly kind: string }): number {
  const rank = (kind: string): number => (order.includes(kind) ? order.indexOf(kind) : order.length);
  return rank(a.kind) - rank(b.kind);
}

/** What a restore does with the mesh, entry by entry. */
interface RestorePlan {
  readonly put: readonly ParsedEntry[];
  readonly unchanged: number;
  /** Entries that the mesh has and the snapshot has not. */
  readonly extra: readonly EntryName[];
}

interface RestoreOptions extends CommonOptions {
  readonly prune?: boolean;
}

async function restore(file: string, options: RestoreOptions): Promise<void> {
  const wanted = await readSnapshot(file);
  await run(options, async (invocation) => {
    const plan = planOf(wanted, await snapshotOf(invocation));
    const operatorToken = await invocation.operatorToken();
    const remove = async ({ kind, name }: EntryName): Promise<unknown> =>
      invocation.client.call('DELETE', `/v1/config/${segment(kind)}/${segment(name)}`, { operatorToken });
    const pruned = options.prune === true ? plan.extra : [];
    const inTheWay = pruned.filter(({ kind }) => constraining.has(kind));
    const still: EntryName[] = pruned.filter(({ kind }) => !constraining.has(kind));
    for (const entry of inTheWay)
      await remove(entry).catch((error: unknown) => {
        if (!(error instanceof Fault)) throw error;
        // What refers to it may be about to change; else the second attempt says why not.
        still.push(entry);
      });
    for (const { entry } of plan.put)
      await invocation.client.call('PUT', '/v1/config', { body: entry, operatorToken });
    for (const entry of still.sort((a, b) => byReference(b, a))) await remove(entry);
    const outcome = {
      written: plan.put.map(({ kind, name }) => `${kind}/${name}`),
      unchanged: plan.unchanged,
      deleted: pruned.map(({ kind, name }) => `${kind}/${name}`),
      kept: options.prune === true ? [] : plan.extra.map(({ kind, name }) => `${kind}/${name}`),
    };
    invocation.show(outcome, () =>
      [
        `wrote ${outcome.written.length} config entries, ${outcome.unchanged} were the same`,
        ...outcome.deleted.map((entry) => `deleted ${entry}`),
        ...outcome.kept.map(
          (entry) => `kept ${entry}, which the snapshot does not have (--prune deletes it)`,
        ),
      ].join('\n'),
    );
    return 0;
  });
}

/** Every entry is checked before the first is written. */
async function readSnapshot(file: string): Promise<ParsedEntry[]> {
  const content = parsed(await readText(file, maxSnapshotBytes)) as Partial<Snapshot> | null;
  if (typeof content !== 'object' || content?.format !== format || !Array.isArray(content.entries))
    throw new Fault('malformed', `${file}: is no snapshot`);
  if (content.version !== version)
    throw new Fault(
      'unsupported',
      `${file}: version ${content.version} is not ${version}, which this agent reads`,
    );
  return content.entries.map((entry, i) => {
    try {
      return parseConfigEntry(entry);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new Fault(error.code, `${file}: entries[${i}]: ${error.message}`, { field: error.field });
    }
  });
}

/** Null for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function planOf(wanted: readonly ParsedEntry[], present: Snapshot): RestorePlan {
  const there = new Map(
    present.entries.map(parseConfigEntry).map((parsed) => [`${parsed.kind}/${parsed.name}`, parsed]),
  );
  const names = new Set(wanted.map(({ kind, name }) => `${kind}/${name}`));
  const put = wanted.filter(
    ({ kind, name, entry }) => JSON.stringify(there.get(`${kind}/${name}`)?.entry) !== JSON.stringify(entry),
  );
  return {
    put: put.sort(byReference),
    unchanged: wanted.length - put.length,
    extra: [...there]
      .filter(([key]) => !names.has(key))
      .map(([, { kind, name }]) => ({ kind, name }))
      .sort((a, b) => byReference(b, a)),
  };
}

export function addSnapshotCommands(program: Command): void {
  const snapshot = program.command('snapshot').description('the policy of the mesh in a file, and back');
  common(
    snapshot
      .command('save')
      .description('write every config entry to a file')
      .argument('<file>', '- for standard output'),
  ).action(save);
  operatorCommand(
    snapshot
      .command('restore')
      .description('write the config entries of a snapshot that differ from those in force')
      .argument('<file>', 'what save wrote; - for standard input')
      .option('--prune', 'delete entries that the snapshot does not have'),
  ).action(restore);
}
