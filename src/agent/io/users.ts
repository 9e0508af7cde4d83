/** The host's user database, as far as /etc/passwd tells it. */
import { readFileSync } from 'node:fs';

/** The uid of a user name, or of a decimal uid itself; null when the host has no such user. */
export function uidOfUser(user: string, passwdPath = '/etc/passwd'): number | null {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  for (const line of readFileSync(passwdPath, 'utf8').split('\n')) {
    const [name, , uid] = line.split(':');
    if (name === user && uid !== undefined && /^\d{1,10}$/.test(uid)) return Number(uid);
  }
  return null;
}
