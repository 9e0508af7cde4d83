/** A request that nobody sent, in the form in which proxies judge those that somebody did. */
import { Fault } from '../../core.ts';
import { RequestHead } from '../../proxy/http1/head.ts';

export interface ImaginedRequest {
  readonly method: string;
  /** With its query, if it has one. */
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

/** The bytes of its head, and the head read from them. `Fault('bad-query')` for what could not be sent. */
export function headOf(
  request: ImaginedRequest,
  host: string,
): { readonly bytes: Buffer; readonly head: RequestHead } {
  const { method, path, headers } = request;
  const fields = headers.some(({ name }) => name.toLowerCase() === 'host')
    ? headers
    : [{ name: 'host', value: host }, ...headers];
  const lines = [`${method} ${path} HTTP/1.1`, ...fields.map(({ name, value }) => `${name}: ${value}`)];
  if (lines.some((line) => /[\r\n]/.test(line)))
    throw new Fault('bad-query', 'no part of a request has a line break in it', { field: 'path' });
  const bytes = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8');
  const head = new RequestHead();
  if (head.parse(bytes, 0, bytes.length) !== bytes.length)
    throw new Fault('bad-query', `${method} ${path} is no request that a proxy would take`, {
      field: 'path',
    });
  return { bytes, head };
}
