/** Finds which uid owns the other end of a local connection, from the kernel's socket tables. Linux. */
import { readFile } from 'node:fs';
import { isIPv4 } from 'node:net';
import { endianness } from 'node:os';
import type { SocketEnds, UidOfSocket } from './options.ts';

const tables = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/**
 * Looks up sockets in as few reads of the tables as possible: whoever asks while one is read shares the next
 * one, since the table that is being read may be older than its connection.
 */
export function socketOwners(): UidOfSocket {
  let waiting: { ends: SocketEnds; done: (uid: number | null) => void }[] = [];
  let reading = false;

  function readNext(): void {
    if (reading || waiting.length === 0) return;
    reading = true;
    const served = waiting;
    waiting = [];
    readTables((text) => {
      reading = false;
      for (const { ends, done } of served) done(uidIn(text, ends));
      readNext();
    });
  }

  return (ends, done) => {
    waiting.push({ ends, done });
    readNext();
  };
}

/** Both tables; one that cannot be read (no IPv6) counts as empty. */
function readTables(done: (text: string) => void): void {
  readFile(tables[0], 'latin1', (error, v4) => {
    readFile(tables[1], 'latin1', (error6, v6) => done((error ? '' : v4) + (error6 ? '' : v6)));
  });
}

/**
 * The owner of the socket whose local end is `ends.local…` and whose remote end is `ends.remote…`. Null once
 * its process has closed it: it has no inode then and the kernel shows uid 0, and taking that at its word
 * would make root of whoever sends something and hangs up.
 */
export function uidIn(text: string, ends: SocketEnds): number | null {
  for (const form of [hexOfV4, hexOfMapped, hexOfV6]) {
    const local = form(ends.localAddress);
    const remote = form(ends.remoteAddress);
    if (local === null || remote === null) continue;
    const key = ` ${local}:${hexPort(ends.localPort)} ${remote}:${hexPort(ends.remotePort)} `;
    const at = text.indexOf(key);
    if (at < 0) continue;
    // sl local remote st tx:rx tr:when retransmits uid timeout inode ...
    const columns = text
      .slice(at + key.length, at + key.length + 120)
      .trim()
      .split(/\s+/);
    const uid = Number(columns[4]);
    const inode = Number(columns[6]);
    return Number.isInteger(uid) && inode > 0 ? uid : null;
  }
  return null;
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}

/** The kernel prints each 32-bit word as this machine stores it. */
function hexOfWord(bytes: readonly number[]): string {
  const ordered = endianness() === 'LE' ? [...bytes].reverse() : bytes;
  return ordered.map((byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join('');
}

function v4Bytes(address: string): number[] | null {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return isIPv4(plain) ? plain.split('.').map(Number) : null;
}

function hexOfV4(address: string): string | null {
  const bytes = v4Bytes(address);
  return bytes === null ? null : hexOfWord(bytes);
}

/** An IPv4 address as a socket of IPv6 shows it. */
function hexOfMapped(address: string): string | null {
  const bytes = v4Bytes(address);
  if (bytes === null) return null;
  return `${'0'.repeat(16)}${hexOfWord([0, 0, 0xff, 0xff])}${hexOfWord(bytes)}`;
}

function hexOfV6(address: string): string | null {
  if (!address.includes(':') || v4Bytes(address) !== null) return null;
  const [head = '', tail = ''] = address.split('%')[0]!.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...new Array<string>(Math.max(missing, 0)).fill('0'), ...groups(tail)];
  const bytes = all.flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
  return [0, 4, 8, 12].map((at) => hexOfWord(bytes.slice(at, at + 4))).join('');
}
