/** Finds which uid owns the other end of a local connection, from the kernel's socket tables. Linux. */
import { readFile } from 'node:fs';
import { isIPv4, type Socket } from 'node:net';
import { endianness } from 'node:os';
import type { SocketEnds, UidOfSocket } from './options.ts';

const tables = ['/proc/net/tcp', '/proc/net/tcp6'] as const;

/**
 * The uid at the other end of an accepted connection; null when the kernel does not tell, or not of this one. A client
 * that sends something, cuts the connection and leaves its port to another process must not be taken for that one: an
 * owner counts only if the connection still stands when it has been found, for then nobody else had the port.
 */
export function peerOwner(
  socket: Socket,
  uidOfSocket: UidOfSocket,
  done: (uid: number | null) => void,
): void {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (!remoteAddress || !remotePort || !localAddress || !localPort) {
    done(null);
    return;
  }
  // The caller's end of the connection is the remote one here, and its local one in the kernel's table.
  const ends = {
    localAddress: remoteAddress,
    localPort: remotePort,
    remoteAddress: localAddress,
    remotePort: localPort,
  };
  uidOfSocket(ends, (uid) => done(isConnected(socket) ? uid : null));
}

/**
 * Asks the kernel: Node itself learns of a reset only when it reads next. `getpeername` fails once a connection was
 * cut, and succeeds as long as no other connection can have the same two ends.
 */
export function isConnected(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as {
    readonly _handle: { getpeername(into: object): number } | null;
  };
  return handle !== null && handle.getpeername({}) === 0;
}

interface Waiting {
  readonly ends: SocketEnds;
  readonly done: (uid: number | null) => void;
}

/**
 * Looks up sockets in as few reads of the tables as possible: whoever asks while one is read shares the next
 * one, since the table that is being read may be older than its connection. A read costs the kernel a walk through
 * every bucket of its hash table, 10 ms where it has 262,144: the one of IPv6 is left alone as long as all are found.
 */
export function socketOwners(): UidOfSocket {
  let waiting: Waiting[] = [];
  let reading = false;

  function readNext(): void {
    if (reading || waiting.length === 0) return;
    reading = true;
    const asked = waiting;
    waiting = [];
    answerFrom(0, asked, () => {
      reading = false;
      readNext();
    });
  }

  return (ends, done) => {
    waiting.push({ ends, done });
    readNext();
  };
}

/** Answers whoever is in one of the tables from `at` on. A table that cannot be read (no IPv6) counts as empty. */
function answerFrom(at: number, asked: readonly Waiting[], finished: () => void): void {
  const table = tables[at];
  if (table === undefined || asked.length === 0) {
    for (const { done } of asked) done(null);
    finished();
    return;
  }
  readFile(table, 'latin1', (error, text) => {
    const missing: Waiting[] = [];
    for (const one of asked) {
      const row = error === null ? rowOf(text, one.ends) : null;
      if (row === null) missing.push(one);
      else one.done(ownerIn(row));
    }
    answerFrom(at + 1, missing, finished);
  });
}

/** The owner of the socket with these ends by a table of the kernel; null when there is none. */
export function uidIn(text: string, ends: SocketEnds): number | null {
  const row = rowOf(text, ends);
  return row === null ? null : ownerIn(row);
}

/** The columns after the ends of the socket whose local end is `ends.local…` and whose remote one `ends.remote…`. */
function rowOf(text: string, ends: SocketEnds): readonly string[] | null {
  for (const form of [hexOfV4, hexOfMapped, hexOfV6]) {
    const local = form(ends.localAddress);
    const remote = form(ends.remoteAddress);
    if (local === null || remote === null) continue;
    const key = ` ${local}:${hexPort(ends.localPort)} ${remote}:${hexPort(ends.remotePort)} `;
    const at = text.indexOf(key);
    if (at < 0) continue;
    const from = at + key.length;
    return text
      .slice(from, from + 120)
      .trim()
      .split(/\s+/);
  }
  return null;
}

/** ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: an end of a connection that was made, and may still be heard. */
const connectedStates: ReadonlySet<string> = new Set(['01', '04', '05', '08']);

/**
 * Null once its process has closed it: it has no inode then and the kernel shows uid 0, and taking that at its word
 * would make root of whoever sends something and hangs up. Null as well while it is only being opened: that is
 * not the connection which was accepted.
 */
function ownerIn(row: readonly string[]): number | null {
  // st tx:rx tr:when retransmits uid timeout inode ...
  const [state = '', , , , uidText, , inode] = row;
  const uid = Number(uidText);
  return connectedStates.has(state) && Number.isInteger(uid) && Number(inode) > 0 ? uid : null;
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
