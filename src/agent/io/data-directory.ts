/** The agent's data directory, made where there is none. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Fault, messageOf } from '../../core.ts';

/**
 * Makes `path` and what is missing above it, for nobody but the agent's user (0700). One level at a time, each
 * tried twice at most: Node's own recursive `mkdir` tries for ever where a folder that exists takes none below
 * it, as in /proc. Throws `Fault('data-dir-unusable')`.
 */
export async function makeDataDirectory(path: string): Promise<void> {
  try {
    if (await makeFolder(path)) return;
    await makeDataDirectory(dirname(path));
    if (await makeFolder(path)) return;
    throw new Error(`${dirname(path)} takes no folders`);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault('data-dir-unusable', `cannot make the directory ${path}: ${messageOf(error)}`, {
      field: 'data-dir',
      cause: error,
    });
  }
}

/** False when the folder above is missing, or seems so. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return false;
    if (code !== 'EEXIST') throw error;
    if (!(await stat(path)).isDirectory()) throw new Error('there is a file of that name');
  }
  return true;
}
