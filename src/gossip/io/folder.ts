/** What the names in a folder need to be durable. */
import { open } from 'node:fs/promises';

/** Makes durable which names a folder holds (fsync(2): a file's own sync does not promise its name). */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
