/** Reads server-sent events (WHATWG HTML, 9.2.6), as far as agents send them: one line of data each. */

/** A line longer than this is no agent's. */
const maxLineLength = 1024 * 1024;

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
}

export async function* serverEvents(chunks: AsyncIterable<Buffer>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let type = 'message';
  let data = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop()!;
    if (rest.length > maxLineLength) return;
    for (const line of lines) {
      if (line.startsWith('event: ')) type = line.slice(7);
      else if (line.startsWith('data: ')) data = line.slice(6);
      else if (line === '' && data !== '') {
        yield { type, data };
        type = 'message';
        data = '';
      }
    }
  }
}
