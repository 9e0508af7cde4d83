/**
 * `snapshot`: the policy of the mesh in one file, and back. Registrations are not in it: each belongs to its host,
 * which has them on its own disk. Nor are keys and tokens: whoever holds them keeps holding them.
 */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { Fault, messageOf } from '../../../core.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import { parseSnapshotEntries } from '../../entries/restore.ts';
import { readText } from './files.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { print, printable } from './output.ts';

const format = 'starling-snapshot';
const version = 1;
/** It holds no secret, yet says who may call whom. */
const fileMode = 0o600;
/** Many times what the policy of a large mesh comes to: whatever was saved can be restored. */
const maxSnapshotBytes = 64 * 1024 * 1024;

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

interface RestoreOptions extends CommonOptions {
  readonly prune?: boolean;
}

/** Entries as `kind/name`. */
interface Restored {
  readonly written: readonly string[];
  readonly unchanged: number;
  readonly deleted: readonly string[];
  readonly kept: readonly string[];
}

/** The agent makes all of it one change, so that it is in force as a whole or not at all. */
async function restore(file: string, options: RestoreOptions): Promise<void> {
  const entries = await readSnapshot(file);
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const path = `/v1/mesh/restore${options.prune === true ? '?prune' : ''}`;
    const restored = await invocation.client.call<Restored>('POST', path, {
      body: { entries },
      operatorToken,
    });
    invocation.show(restored, () => restoredText(restored));
    return 0;
  });
}

function restoredText({ written, unchanged, deleted, kept }: Restored): string {
  return [
    `wrote ${written.length} config entries, ${unchanged} were the same`,
    ...deleted.map((entry) => `deleted ${printable(entry)}`),
    ...kept.map((entry) => `kept ${printable(entry)}, which the snapshot does not have (--prune deletes it)`),
  ].join('\n');
}

/** Its entries as they stand there, each of which can be read. */
async function readSnapshot(file: string): Promise<readonly unknown[]> {
  const content = parsed(await readText(file, maxSnapshotBytes)) as Partial<Snapshot> | null;
  if (typeof content !== 'object' || content?.format !== format || !Array.isArray(content.entries))
    throw new Fault('malformed', `${file}: is no snapshot`);
  if (content.version !== version)
    throw new Fault(
      'unsupported',
      `${file}: version ${content.version} is not ${version}, which this agent reads`,
    );
  try {
    parseSnapshotEntries(content.entries);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(error.code, `${file}: entries${error.message}`, { field: error.field });
  }
  return content.entries;
}

/** Null for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
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
