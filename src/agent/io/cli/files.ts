/** Files that users hand to commands: JSON or YAML, read whole, faults in one line that starts with the path. */
import { createReadStream } from 'node:fs';
import { Fault, messageOf } from '../../../core.ts';
import { parseDefinitions } from '../../consul/definition.ts';
import type { ParsedEntry } from '../../entries/entry.ts';
import type { ServiceDefinition } from '../../kinds.ts';

const maxFileBytes = 1024 * 1024;

/** The content of a file, `-` for standard input. `Fault('unreadable-file')` or `malformed`. */
export async function readStructured(path: string): Promise<unknown> {
  const text = await readText(path);
  // Loaded for the commands that read files: the others start sooner without it.
  const { parseAllDocuments } = await import('yaml');
  const documents = [...parseAllDocuments(text, { prettyErrors: true })];
  const [error] = documents.flatMap(({ errors }) => errors);
  if (error !== undefined) throw new Fault('malformed', `${path}: ${firstLine(error.message)}`);
  try {
    const contents: unknown[] = documents.map((document) => document.toJS({ maxAliasCount: 100 }));
    // Several documents in one file, with `---` between them, are a list; one that is empty is none.
    return contents.length > 1 ? contents.filter((content) => content !== null) : (contents[0] ?? null);
  } catch (failure) {
    throw new Fault('malformed', `${path}: ${firstLine(messageOf(failure))}`);
  }
}

/** `-` is standard input. `Fault('unreadable-file')` or `too-large`. */
export async function readText(path: string, maxBytes = maxFileBytes): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of path === '-' ? process.stdin : createReadStream(path)) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) throw new Fault('too-large', `${path}: larger than ${maxBytes} bytes`);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault('unreadable-file', `${path}: ${messageOf(error)}`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function firstLine(text: string): string {
  return text.split('\n')[0]!.replace(/:$/, '');
}

/** Puts the file's path in front of a fault about its content. */
function inFile<T>(path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(error.code, `${path}: ${error.message}`, { field: error.field });
  }
}

/** The services a file defines. */
export async function readDefinitions(path: string): Promise<ServiceDefinition[]> {
  const content = await readStructured(path);
  return inFile(path, () => parseDefinitions(content, { type: 'file', path }));
}

/** Config entries as they were written, each of which could be read, and what they were read as. */
export interface WrittenEntries {
  /** One, or a list of them. */
  readonly written: unknown;
  readonly entries: readonly ParsedEntry[];
}

/** The config entries of a file. */
export async function readEntries(path: string): Promise<WrittenEntries> {
  return entriesIn(await readStructured(path), path);
}

async function entriesIn(written: unknown, path: string): Promise<WrittenEntries> {
  // Loaded for the commands that need it, as above.
  const { parseConfigEntries } = await import('../../entries/entry.ts');
  return { written, entries: inFile(path, () => parseConfigEntries(written)) };
}

/** What a file holds, told by whether it names a `Kind`. */
export async function readEither(
  path: string,
): Promise<{ readonly services: readonly ServiceDefinition[]; readonly entries: readonly ParsedEntry[] }> {
  const content = await readStructured(path);
  const first: unknown = Array.isArray(content) ? content[0] : content;
  const isEntry =
    typeof first === 'object' &&
    first !== null &&
    Object.keys(first).some((key) => key.toLowerCase() === 'kind');
  if (isEntry) return { services: [], entries: (await entriesIn(content, path)).entries };
  const services = inFile(path, () => parseDefinitions(content, { type: 'file', path }));
  return { services, entries: [] };
}
