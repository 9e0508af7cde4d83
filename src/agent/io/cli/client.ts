/** The CLI's way to the agent's local API. */
import { Client } from 'undici';
import { Fault, messageOf } from '../../../core.ts';

/** Answers larger than this are not the agent's. */
const maxAnswerBytes = 64 * 1024 * 1024;
const answerTimeoutMs = 30_000;

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

export interface ApiRequest {
  readonly body?: unknown;
  /** Text of an operator token, where it is not the one that every request takes along. A secret. */
  readonly operatorToken?: string;
}

export class ApiClient {
  /** As the user wrote it, for messages. */
  private readonly address: string;
  private readonly client: Client;
  private readonly operatorToken: () => Promise<string> | null;

  /**
   * `address`: `ADDR:PORT`, `http://ADDR:PORT` or `unix:PATH`; `Fault('bad-option')` for anything else.
   * `operatorToken`: the text that requests take along, a secret; null where there is none to take.
   */
  constructor(address: string, operatorToken: () => Promise<string> | null = () => null) {
    this.address = address;
    this.operatorToken = operatorToken;
    const timeouts = { headersTimeout: answerTimeoutMs, bodyTimeout: answerTimeoutMs, connectTimeout: 5000 };
    if (address.startsWith('unix:')) {
      this.client = new Client('http://localhost', { socketPath: address.slice(5), ...timeouts });
      return;
    }
    const origin = URL.parse(/^https?:\/\//.test(address) ? address : `http://${address}`);
    if (origin === null || origin.pathname !== '/' || origin.protocol !== 'http:')
      throw new Fault('bad-option', `--http: "${address}" is not ADDRESS:PORT or unix:PATH`, {
        field: 'http',
      });
    this.client = new Client(origin.origin, timeouts);
  }

  /** Sends a request; `Fault('agent-unreachable')` when nobody answers. A refusal is an answer too. */
  async send(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    request: ApiRequest = {},
  ): Promise<ApiAnswer> {
    const { body } = request;
    try {
      const operatorToken = request.operatorToken ?? (await this.operatorToken());
      const response = await this.client.request({
        method,
        path,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...authorization(operatorToken),
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      return { status: response.statusCode, text: await readLimited(response.body) };
    } catch (error) {
      throw error instanceof Fault ? error : this.unreachable(error);
    }
  }

  /** As `send`; `Fault('refused')` with the agent's own words unless it answered 2xx. */
  async call<T>(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    request: ApiRequest = {},
  ): Promise<T> {
    const answer = await this.send(method, path, request);
    if (answer.status >= 300) throw new Fault('refused', refusalText(answer));
    return (answer.text === '' ? null : parseAnswer(answer.text)) as T;
  }

  get<T>(path: string): Promise<T> {
    return this.call<T>('GET', path);
  }

  /** The answer as it comes, for as long as it does; `Fault('refused')` with the agent's own words unless it is 2xx. */
  async follow(path: string): Promise<AsyncIterable<Buffer>> {
    try {
      const headers = authorization(await this.operatorToken());
      const { statusCode, body } = await this.client.request({ method: 'GET', path, headers });
      if (statusCode < 300) return body;
      throw new Fault('refused', refusalText({ status: statusCode, text: await readLimited(body) }));
    } catch (error) {
      throw error instanceof Fault ? error : this.unreachable(error);
    }
  }

  private unreachable(error: unknown): Fault {
    const why = `no agent answers at ${this.address} (${reasonOf(error)}); is it running?`;
    return new Fault('agent-unreachable', why);
  }

  async close(): Promise<void> {
    await this.client.destroy();
  }
}

function authorization(operatorToken: string | null): { readonly authorization?: string } {
  return operatorToken === null ? {} : { authorization: `Bearer ${operatorToken}` };
}

async function readLimited(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new Fault('refused', "the answer is too large to be the agent's");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `ECONNREFUSED` and the like, without the address that the message has already. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return messageOf(error);
}

function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Fault('refused', 'the answer is not JSON: is this the address of an agent?');
  }
}

/** The agent's sentence, taken out of Starling's JSON errors; one line. */
function refusalText({ status, text }: ApiAnswer): string {
  let message = text;
  try {
    const parsed: unknown = JSON.parse(text);
    if (
      typeof parsed === 'object' &&
      parsed !== null &&
      'message' in parsed &&
      typeof parsed.message === 'string'
    ) {
      const field = 'field' in parsed && typeof parsed.field === 'string' ? `${parsed.field}: ` : '';
      message = parsed.message.startsWith(field) ? parsed.message : field + parsed.message;
    }
  } catch {
    // Consul's paths answer with plain text: it is the message.
  }
  const line = message.trim().split('\n')[0] ?? '';
  return line === '' ? `the agent answered ${status}` : line;
}
