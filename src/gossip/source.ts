/** Who counts as one where strangers are held to a rate: an address, or as many as one site has to itself. */

/** Leading groups of an IPv6 address that one site has to itself (RFC 6177: a /64 is one network). */
const networkGroups = 4;

/** What counts as one source: an IPv4 address, or the /64 of an IPv6 one, of which one host has 2^64. */
export function sourceOf(address: string): string {
  const [plain = ''] = address.split('%');
  if (plain.startsWith('::ffff:') && plain.includes('.')) return plain.slice('::ffff:'.length);
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return groups.slice(0, networkGroups).join(':');
}
