/** One agent's HTTP API on its unix socket, which is reached from any network namespace and counts in none. */
import { type IncomingMessage, request } from 'node:http';

export interface ApiAnswer {
  readonly status: number;
  readonly body: string;
  /** Of the `X-Consul-Index` header; 0 without one. */
  readonly index: number;
  /** Of `performance.now()` when the head of the answer arrived. */
  readonly atMs: number;
}

export interface ApiRequest {
  readonly method?: string;
  readonly body?: unknown;
  readonly token?: string;
}

/** A blocking query that lasts longer than any measurement. */
const longWait = '10m';

export class LocalApi {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  /** Rejects for anything but a 200. */
  async ask(path: string, options: ApiRequest = {}): Promise<ApiAnswer> {
    const answer = await this.send(path, options);
    if (answer.status !== 200)
      throw new Error(`${options.method ?? 'GET'} ${path}: ${answer.status} ${answer.body}`);
    return answer;
  }

  /** Answers once what `path` gives is newer than `index`. */
  askAfter(path: string, index: number): Promise<ApiAnswer> {
    return this.ask(`${path}?index=${index}&wait=${longWait}`);
  }

  private send(path: string, { method = 'GET', body, token }: ApiRequest): Promise<ApiAnswer> {
    return new Promise((done, fail) => {
      const sent = request(
        {
          // A connection each: one kept for later may have been closed by an agent that was stopped meanwhile.
          ...{ socketPath: this.socketPath, agent: false, method, path },
          headers: {
            ...(token === undefined ? {} : { 'x-consul-token': token }),
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
        },
        (response) => {
          const atMs = performance.now();
          textOf(response).then(
            (text) =>
              done({
                status: response.statusCode ?? 0,
                body: text,
                index: Number(response.headers['x-consul-index'] ?? 0),
                atMs,
              }),
            fail,
          );
        },
      );
      sent.once('error', fail);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const piece of response) text += piece;
  return text;
}
