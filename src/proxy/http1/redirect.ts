/** The answer to a request that policy sends elsewhere, instead of forwarding it. */
import type { HttpRedirect } from '../policy.ts';
import { visible } from './bytes.ts';
import { targetOf } from './facts.ts';
import type { RequestHead } from './head.ts';

const statusTexts: Readonly<{ [status: number]: string }> = {
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
};

/** The whole response. What the redirect leaves out stays as it was asked for, the query in any case. */
export function redirectResponse(
  redirect: HttpRedirect,
  bytes: Buffer,
  head: RequestHead,
  keepAlive: boolean,
): Buffer {
  const target = targetOf(bytes, head);
  const queryAt = target.indexOf('?');
  const query = queryAt < 0 || redirect.path.includes('?') ? '' : target.slice(queryAt);
  const path = redirect.path || (queryAt < 0 ? target : target.slice(0, queryAt));
  const ownHost = head.hostCount === 0 ? '' : bytes.toString('latin1', head.hostStart, head.hostEnd);
  const authority = redirect.host || ownHost;
  // Without an authority only a relative reference can be meant.
  const base = authority === '' ? '' : `${redirect.scheme || 'http'}://${authority}`;
  const lines = [
    `HTTP/1.1 ${redirect.status} ${statusTexts[redirect.status] ?? 'Redirect'}`,
    `location: ${visible(`${base}${path}${query}`)}`,
    'content-length: 0',
  ];
  if (!keepAlive) lines.push('connection: close');
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
}
