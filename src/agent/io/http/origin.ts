/**
 * Keeps web pages out of the local API. A page cannot forge the Host or Origin header: a name that somebody
 * rebound to 127.0.0.1 arrives as a foreign Host, a cross-site request with a foreign Origin.
 *
 * Allowed hosts: any IP literal (it cannot be rebound), `localhost`, `*.localhost`, and the names given.
 * Allowed origin: the very host and port that the request is addressed to.
 */
import { isIP } from 'node:net';
import { Fault } from '../../../core.ts';

/** The name part of a Host header, without port and brackets, lower case; null when malformed. */
function hostName(header: string): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(header);
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '') ?? null;
}

function isAllowedHost(header: string, names: readonly string[]): boolean {
  const name = hostName(header);
  if (name === null) return false;
  return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || names.includes(name);
}

/** Null when the request may go on, else `Fault('foreign-host')`. */
export function refusalOfOrigin(
  host: string | undefined,
  origin: string | undefined,
  names: readonly string[],
): Fault | null {
  if (host === undefined || !isAllowedHost(host, names))
    return new Fault(
      'foreign-host',
      `Host "${(host ?? '').slice(0, 100)}" is not this agent; use its address or localhost`,
    );
  if (origin === undefined) return null;
  if (origin.toLowerCase().replace(/^https?:\/\//, '') === host.toLowerCase()) return null;
  return new Fault('foreign-host', `Origin "${origin.slice(0, 100)}" may not use this API`);
}
