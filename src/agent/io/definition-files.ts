/**
 * The service definitions in files (`--services`): a file or a folder, read at the start and whenever it
 * changes. A file counts as a whole: while it has an error, what it said before stays in force.
 */
import { type FSWatcher, watch } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { byCodeUnit, Fault, messageOf } from '../../core.ts';
import { parseDefinitions } from '../consul/definition.ts';
import type { ServiceDefinition } from '../kinds.ts';

/** Everything that files now define, and what is wrong with which file. */
export interface DefinitionSet {
  readonly definitions: readonly ServiceDefinition[];
  readonly problems: readonly FileProblem[];
}

export interface FileProblem {
  readonly path: string;
  /** The message starts with the path. */
  readonly fault: Fault;
}

export interface DefinitionFilesOptions {
  readonly path: string;
  readonly uidOfUser: (user: string) => number | null;
  /** Called after the first scan, and after every later one that found something else. */
  readonly onChange: (set: DefinitionSet) => void;
  /** How often files are looked at even when nothing is announced, milliseconds. */
  readonly pollMs?: number;
}

/** Files in one folder, and bytes in one file, that are read. */
export const maxFiles = 1000;
export const maxFileBytes = 1024 * 1024;
/** Editors and tools change a file in several steps. */
const settleMs = 50;
/** Announcements get lost where a folder is replaced or on a network file system. */
const defaultPollMs = 5000;

/** What is known of one file. */
interface FileState {
  /** Changes whenever the file does. */
  readonly signature: string;
  /** What it says, if it can be read. */
  readonly definitions: readonly ServiceDefinition[] | null;
  readonly fault: Fault | null;
}

export class DefinitionFiles {
  private readonly options: DefinitionFilesOptions;
  private readonly files = new Map<string, FileState>();
  /** What each file last contributed, in force while it has an error. */
  private readonly inForce = new Map<string, readonly ServiceDefinition[]>();
  private reported: string | null = null;
  private watcher: FSWatcher | null = null;
  private watched = '';
  private timer: NodeJS.Timeout | null = null;
  private scanning: Promise<void> | null = null;
  private scanAgain = false;
  private closed = false;

  constructor(options: DefinitionFilesOptions) {
    this.options = options;
  }

  /** Reads everything once, reports it, and watches from then on. Never rejects for what files hold. */
  start(): Promise<void> {
    return this.scan();
  }

  async close(): Promise<void> {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.watcher?.close();
    await this.scanning;
  }

  /** Scans once more after the present scan, however often it is asked for meanwhile. */
  private scan(): Promise<void> {
    if (this.scanning !== null) {
      this.scanAgain = true;
      return this.scanning;
    }
    this.scanning = this.scanOnce().finally(() => {
      this.scanning = null;
      const soon = this.scanAgain;
      this.scanAgain = false;
      this.arm(soon ? settleMs : (this.options.pollMs ?? defaultPollMs));
    });
    return this.scanning;
  }

  private arm(delayMs: number): void {
    if (this.closed) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.scan(), delayMs);
    this.timer.unref();
  }

  private async scanOnce(): Promise<void> {
    const problems: FileProblem[] = [];
    try {
      const paths = await this.find();
      for (const path of this.files.keys()) if (!paths.includes(path)) this.forget(path);
      for (const path of paths) await this.read(path);
    } catch (error) {
      // A file that was named by itself is gone with its definitions; a folder may be unmounted, so that
      // every definition it gave stays in force.
      if (isMissing(error)) this.forget(this.options.path);
      problems.push({ path: this.options.path, fault: unreadable(this.options.path, error) });
    }
    if (!this.closed) this.report(problems);
  }

  private forget(path: string): void {
    this.files.delete(path);
    this.inForce.delete(path);
  }

  /** The files there are, sorted; watches where they are. */
  private async find(): Promise<string[]> {
    const { path } = this.options;
    const isFolder = (await stat(path)).isDirectory();
    // A file is replaced by renaming another over it, which only its folder announces.
    this.watch(isFolder ? path : dirname(path), isFolder ? null : basename(path));
    if (!isFolder) return [path];
    const names = (await readdir(path)).filter(isDefinitionFile).sort(byCodeUnit);
    if (names.length > maxFiles)
      throw new Fault('too-many-files', `holds ${names.length} definition files, more than ${maxFiles}`);
    return names.map((name) => join(path, name));
  }

  private watch(folder: string, only: string | null): void {
    if (this.watcher !== null && this.watched === folder) return;
    this.watcher?.close();
    this.watcher = null;
    // Polling goes on in any case; the next scan watches anew.
    try {
      this.watcher = watch(folder, (_event, name) => {
        if (only === null || name === null || name === only) this.arm(settleMs);
      });
    } catch (error) {
      if (!isOutOfWatches(error)) throw error;
      return;
    }
    this.watched = folder;
    this.watcher.on('error', () => {
      this.watcher?.close();
      this.watcher = null;
    });
    this.watcher.unref();
  }

  private async read(path: string): Promise<void> {
    let signature = '';
    try {
      const found = await stat(path, { bigint: true });
      signature = `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs} ${found.mode}`;
      if (this.files.get(path)?.signature === signature) return;
      if (!found.isFile()) throw new Fault('not-a-file', 'is not a file');
      if (found.size > maxFileBytes) throw new Fault('too-large', `has more than ${maxFileBytes} bytes`);
      const content = await decode(path, await readFile(path, 'utf8'));
      const definitions = parseDefinitions(content, {
        type: 'file',
        path,
        uidOfUser: this.options.uidOfUser,
      });
      refuseUnsafeScripts(definitions, Number(found.mode), Number(found.uid));
      this.files.set(path, { signature, definitions, fault: null });
    } catch (error) {
      if (isMissing(error)) this.forget(path);
      else this.files.set(path, { signature, definitions: null, fault: unreadable(path, error) });
    }
  }

  /** Puts the files together, the first by name winning an id, and tells if anything is new. */
  private report(problems: FileProblem[]): void {
    const definitions: ServiceDefinition[] = [];
    const taken = new Map<string, string>();
    for (const [path, file] of [...this.files].sort(([a], [b]) => byCodeUnit(a, b))) {
      if (file.fault !== null) problems.push({ path, fault: file.fault });
      const wanted = file.definitions ?? this.inForce.get(path) ?? [];
      const clash = clashOf(path, wanted, taken);
      if (clash !== null) problems.push({ path, fault: clash });
      const kept = clash === null ? wanted : (this.inForce.get(path) ?? []);
      if (clash !== null && clashOf(path, kept, taken) !== null) continue;
      this.inForce.set(path, kept);
      for (const key of kept.flatMap(idsOf)) taken.set(key, path);
      definitions.push(...kept);
    }
    const summary = JSON.stringify([definitions, problems.map(({ fault }) => fault.message)]);
    if (summary === this.reported) return;
    this.reported = summary;
    this.options.onChange({ definitions, problems });
  }
}

function isDefinitionFile(name: string): boolean {
  return !name.startsWith('.') && ['.json', '.yaml', '.yml', '.hcl'].includes(extname(name));
}

/** The content as plain data. `Fault('malformed')`; HCL is refused in words, not passed over. */
async function decode(path: string, text: string): Promise<unknown> {
  if (extname(path) === '.hcl') throw new Fault('unsupported', 'HCL is not read: write JSON or YAML');
  if (extname(path) === '.json') {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Fault('malformed', `not JSON: ${messageOf(error)}`);
    }
  }
  // Loaded for those who write YAML: the others' agents are smaller without it.
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Fault('malformed', `not YAML: ${error.message}`);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (problem) {
    throw new Fault('malformed', `not YAML: ${messageOf(problem)}`);
  }
}

/** A file that names programs must be nobody's to change but root's and the agent's own user's. */
function refuseUnsafeScripts(definitions: readonly ServiceDefinition[], mode: number, owner: number): void {
  if (!definitions.some(({ checks }) => checks.some(({ type }) => type === 'script'))) return;
  if (owner !== 0 && owner !== process.getuid?.())
    throw new Fault(
      'unsafe-file',
      `names a program to run and belongs to uid ${owner}, not to the agent's user or root`,
    );
  if ((mode & 0o002) !== 0)
    throw new Fault('unsafe-file', 'names a program to run and is writable by everyone');
}

/** What must be unique on a host: ids of services, and of checks. */
function idsOf(definition: ServiceDefinition): string[] {
  return [`service "${definition.id}"`, ...definition.checks.map(({ id }) => `check "${id}"`)];
}

function clashOf(
  path: string,
  definitions: readonly ServiceDefinition[],
  taken: ReadonlyMap<string, string>,
): Fault | null {
  const own = new Set<string>();
  for (const id of definitions.flatMap(idsOf)) {
    const other = taken.get(id) ?? (own.has(id) ? path : undefined);
    if (other !== undefined)
      return new Fault('duplicate-id', `${path}: ${id} is defined in ${other} already`);
    own.add(id);
  }
  return null;
}

/** The system has as many watches as it allows, or the process as many files. */
function isOutOfWatches(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(EMFILE|ENFILE|ENOSPC)$/.test(String(error.code));
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Any failure as a `Fault` that names the file. */
function unreadable(path: string, error: unknown): Fault {
  if (error instanceof Fault)
    return new Fault(error.code, `${path}: ${error.message}`, { field: error.field, cause: error });
  return new Fault('unreadable', `${path}: ${messageOf(error)}`, { cause: error });
}
