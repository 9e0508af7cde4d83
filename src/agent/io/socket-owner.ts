/**
 * Which user owns a TCP socket of this host, as the kernel says in /proc/net/tcp and /proc/net/tcp6.
 *
 * Only an established socket with an inode has an owner. Once its process has closed it, the kernel shows
 * uid 0 for it: taking that at its word would make root of whoever sends a request and hangs up.
 */
import { readFile } from 'node:fs/promises';
import { isIPv4, isIPv6 } from 'node:net';

export interface SocketEnd {
  readonly address: string;
  readonly port: number;
}

const established = '01';

/** Address bytes as the kernel prints them: each 32-bit word in host order, here little-endian. */
function kernelHex(bytes: readonly number[]): string {
  let hex = '';
  for (let word = 0; word < bytes.length; word += 4)
    for (let i = 3; i >= 0; i--) hex += bytes[word + i]!.toString(16).padStart(2, '0');
  return hex.toUpperCase();
}

function bytesOfV4(address: string): number[] {
  return address.split('.').map(Number);
}

/** The sixteen bytes of an IPv6 address in text form, without zone. */
function bytesOfV6(address: string): number[] {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const tail = dotted === null ? [] : bytesOfV4(dotted[2]!);
  const text = dotted === null ? address : dotted[1]!.replace(/([^:]):$/, '$1');
  const [head = '', rest] = text.split('::');
  const words = (part: string): number[] =>
    part
      .split(':')
      .filter((word) => word !== '')
      .flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]);
  const front = words(head);
  const back = [...words(rest ?? ''), ...tail];
  return [...front, ...new Array<number>(Math.max(0, 16 - front.length - back.length)).fill(0), ...back];
}

/** Both spellings of an end: as an IPv4 socket shows it, and as an IPv6 socket does. */
function spellings(end: SocketEnd): { readonly v4: string | null; readonly v6: string } {
  const address = end.address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const dotted = isIPv4(address) ? address : mapped;
  const port = end.port.toString(16).toUpperCase().padStart(4, '0');
  const wide = dotted === undefined ? (isIPv6(address) ? address : '::') : `::ffff:${dotted}`;
  return {
    v4: dotted === undefined ? null : `${kernelHex(bytesOfV4(dotted))}:${port}`,
    v6: `${kernelHex(bytesOfV6(wide))}:${port}`,
  };
}

/** The owner in one table; null when the connection is not in it, or is no longer anybody's. */
export function ownerInTable(table: string, local: string, remote: string): number | null {
  const wanted = ` ${local} ${remote} `;
  const at = table.indexOf(wanted);
  if (at < 0) return null;
  const end = table.indexOf('\n', at);
  const [state, , , , uid, , inode] = table
    .slice(at + wanted.length, end < 0 ? undefined : end)
    .trim()
    .split(/\s+/);
  if (state !== established || uid === undefined || inode === undefined || inode === '0') return null;
  return Number(uid);
}

/** uid of the process that made the socket bound to `local` and connected to `remote`; null if unknown. */
export async function ownerOfSocket(local: SocketEnd, remote: SocketEnd): Promise<number | null> {
  const from = spellings(local);
  const to = spellings(remote);
  if (from.v4 !== null && to.v4 !== null) {
    const owner = ownerInTable(await readTable('/proc/net/tcp'), from.v4, to.v4);
    if (owner !== null) return owner;
  }
  return ownerInTable(await readTable('/proc/net/tcp6'), from.v6, to.v6);
}

/** A host without IPv6, or not Linux, has no such table: nobody is found in it. */
async function readTable(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
