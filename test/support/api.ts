/** The local API on a loopback port over a `MemoryAgent`, and a client that sends any header. */
import { request } from 'node:http';
import { type HttpServer, type HttpServerOptions, startHttpServer } from '../../src/agent/io/http/server.ts';
import { Fault, type Signer } from '../../src/core.ts';
import { MemoryAgent, operatorKey } from './agent.ts';

export const operatorToken = 'operator-secret';

/** Signs for nothing but says who it is; the memory agent does not verify. */
const operator: Signer = { publicKey: operatorKey, sign: () => new Uint8Array(64) };

export function parseOperator(text: string): Signer {
  if (text !== operatorToken) throw new Fault('malformed', 'not an operator token');
  return operator;
}

export interface TestApi {
  readonly agent: MemoryAgent;
  readonly server: HttpServer;
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: { readonly [name: string]: string };
  /** Send the operator's token. */
  readonly operator?: boolean;
  readonly signal?: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly headers: { readonly [name: string]: string | string[] | undefined };
  readonly text: string;
  json<T>(): T;
}

export async function startApi(options: Partial<HttpServerOptions> = {}): Promise<TestApi> {
  const agent = (options.agent as MemoryAgent | undefined) ?? new MemoryAgent();
  const server = await startHttpServer({
    agent,
    listen: { address: '127.0.0.1', port: 0 },
    parseOperator,
    uidOfUser: (name) => (name === 'root' ? 0 : name === 'nobody' ? 65534 : null),
    ...options,
  });
  return {
    agent,
    server,
    address: server.address,
    call: (method, path, call) => exchange(server.address, method, path, call),
  };
}

function exchange(address: string, method: string, path: string, call: CallOptions = {}): Promise<Reply> {
  const unix = address.startsWith('unix:');
  const [host, port] = address.split(':');
  const text = typeof call.body === 'string' ? call.body : JSON.stringify(call.body);
  const headers = {
    ...(call.operator === true ? { 'x-consul-token': operatorToken } : {}),
    ...(text === undefined ? {} : { 'content-length': String(Buffer.byteLength(text)) }),
    ...call.headers,
  };
  return new Promise((resolve, reject) => {
    const target = unix ? { socketPath: address.slice(5) } : { host, port };
    const outgoing = request(
      { ...target, method, path, headers, agent: false, signal: call.signal },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const body = Buffer.concat(chunks).toString();
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text: body,
            json: <T>() => JSON.parse(body) as T,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}
