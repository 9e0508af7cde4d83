/** What the kernel says about running processes: CPU time, memory, and who listens on a port. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import {
  parseChildren,
  parseListeners,
  parseOnCpuNs,
  parseResidentBytes,
  parseSocketInode,
} from './procfs.ts';

/** Reads, or null for a process or thread that ended while we looked. */
function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return null;
    throw error;
  }
}

function threadsOf(pid: number): string[] {
  return (unlessGone(() => readdirSync(`/proc/${pid}/task`)) ?? []).map((tid) => `/proc/${pid}/task/${tid}`);
}

/** A process and all its descendants. */
export function treeOf(pid: number): number[] {
  const children = threadsOf(pid).flatMap(
    (thread) => unlessGone(() => parseChildren(readFileSync(`${thread}/children`, 'utf8'))) ?? [],
  );
  return [pid, ...children.flatMap(treeOf)];
}

/**
 * Microseconds of CPU that all threads of these processes and their descendants have used so far. Exact to the
 * nanosecond, unlike the ticks of `/proc/<pid>/stat`; a thread that ends takes its share with it.
 */
export function cpuMicroseconds(pids: readonly number[]): number {
  let totalNs = 0;
  for (const thread of pids.flatMap(treeOf).flatMap(threadsOf))
    totalNs += unlessGone(() => parseOnCpuNs(readFileSync(`${thread}/schedstat`, 'utf8'))) ?? 0;
  return totalNs / 1000;
}

/** Resident bytes of one process without its descendants. Throws when it is gone. */
export function residentBytes(pid: number): number {
  return parseResidentBytes(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

function socketsOf(pid: number): Set<string> {
  const names = unlessGone(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  const inodes = names.map((name) => {
    const link = unlessGone(() => readlinkSync(`/proc/${pid}/fd/${name}`));
    return link === null ? null : parseSocketInode(link);
  });
  return new Set(inodes.filter((inode) => inode !== null));
}

function listenersOn(endpoint: string): string[] {
  const [address = '', port = ''] = endpoint.split(':');
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
    parseListeners(unlessGone(() => readFileSync(file, 'utf8')) ?? '', address, Number(port)),
  );
}

/** Throws when anything listens on `endpoint` (`address:port`) already: we would measure a stranger. */
export function assertFree(endpoint: string): void {
  if (listenersOn(endpoint).length > 0)
    throw new Error(
      `something listens on ${endpoint} already, left from an earlier run perhaps: stop it first`,
    );
}

/** Throws unless someone listens on `endpoint` and all who do are among these processes and their descendants. */
export function assertOwned(endpoint: string, pids: readonly number[]): void {
  const listeners = listenersOn(endpoint);
  if (listeners.length === 0) throw new Error(`nothing listens on ${endpoint}`);
  const ours = pids.flatMap(treeOf).map(socketsOf);
  for (const inode of listeners)
    if (!ours.some((sockets) => sockets.has(inode)))
      throw new Error(`${endpoint} belongs to another process than the one to measure`);
}
