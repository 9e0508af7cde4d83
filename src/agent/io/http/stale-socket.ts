/** Makes way for a unix socket: removes the one a killed agent left behind, never one that is in use. */
import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { Fault } from '../../../core.ts';

/** `Fault('address-in-use')` when somebody answers there or the path is not a socket. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (found === null) return;
  if (!found.isSocket())
    throw new Fault('address-in-use', `${path} exists and is not a socket`, { field: 'http' });
  if (await answers(path))
    throw new Fault('address-in-use', `another process listens on ${path}`, { field: 'http' });
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
