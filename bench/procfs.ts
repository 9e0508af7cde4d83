/** Reads the text of the files under /proc that a measurement needs (man 5 proc). */

/** Nanoseconds a thread spent on a CPU: the first number of `/proc/<pid>/task/<tid>/schedstat`. */
export function parseOnCpuNs(schedstat: string): number {
  const match = /^(\d+) \d+ \d+/.exec(schedstat);
  if (match === null) throw new Error(`not a schedstat line: ${schedstat.slice(0, 80)}`);
  return Number(match[1]);
}

/** Bytes of resident memory from `/proc/<pid>/status`. */
export function parseResidentBytes(status: string): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(status);
  if (match === null) throw new Error('no VmRSS in the status of the process');
  return Number(match[1]) * 1024;
}

/** Pids from `/proc/<pid>/task/<tid>/children`. */
export function parseChildren(text: string): number[] {
  return text.split(/\s+/).filter(Boolean).map(Number);
}

/** The socket behind a link of `/proc/<pid>/fd`, or null for anything but a socket. */
export function parseSocketInode(link: string): string | null {
  return /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? null;
}

const listening = '0A';

/**
 * Inodes of the sockets that listen on `address:port` or on every address of that port, from `/proc/net/tcp` or
 * `/proc/net/tcp6`. The kernel prints an IPv4 address as one little-endian number in hex; all zeros, of either
 * family, is every address.
 */
export function parseListeners(text: string, address: string, port: number): string[] {
  const addressHex = hexAddress(address);
  const portHex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes: string[] = [];
  for (const line of text.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [host = '', hostPort] = (fields[1] ?? '').split(':');
    if (fields[3] !== listening || hostPort !== portHex) continue;
    if (host === addressHex || /^0+$/.test(host)) inodes.push(fields[9] ?? '');
  }
  return inodes;
}

function hexAddress(address: string): string {
  return address
    .split('.')
    .reverse()
    .map((octet) => Number(octet).toString(16).toUpperCase().padStart(2, '0'))
    .join('');
}

/** What went over one network interface since it exists. */
export interface InterfaceCounters {
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
}

/** Counters by interface name, from `/proc/net/dev`: two lines of headings, then eight columns each way. */
export function parseInterfaces(text: string): Map<string, InterfaceCounters> {
  const found = new Map<string, InterfaceCounters>();
  for (const line of text.split('\n').slice(2)) {
    const match = /^\s*([^:]+):\s*(.*)$/.exec(line);
    if (match === null) continue;
    const columns = match[2]!.trim().split(/\s+/).map(Number);
    if (columns.length < 16 || columns.some(Number.isNaN))
      throw new Error(`not a line of /proc/net/dev: ${line.slice(0, 120)}`);
    found.set(match[1]!, {
      receivedBytes: columns[0]!,
      receivedPackets: columns[1]!,
      sentBytes: columns[8]!,
      sentPackets: columns[9]!,
    });
  }
  return found;
}
