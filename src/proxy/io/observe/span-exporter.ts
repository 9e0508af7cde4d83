/** Sends spans to a collector as OTLP/HTTP JSON: in batches, a few at a time, and lost where it cannot keep up. */
import type { Client } from 'undici';
import { messageOf } from '../../../core.ts';
import { exportBody, type Span } from '../../observe/otlp.ts';

/** Spans that wait beyond this are lost. */
const maxWaiting = 4096;
/** Making JSON of them takes about half a millisecond. */
const maxBatch = 128;
/** How long a span waits for others. */
const gatherMs = 1000;
const requestTimeoutMs = 5000;
/** After a batch that could not be sent, whose spans are lost; doubles up to the maximum. */
const minPauseMs = 1000;
const maxPauseMs = 60_000;
const defaultPath = '/v1/traces';

export class SpanExporter {
  readonly endpoint: string;
  /** Spans that were lost. */
  lost = 0;
  private readonly origin: string;
  private readonly path: string;
  private readonly host: string;
  private readonly onProblem: (problem: string) => void;
  private client: Client | null = null;
  private waiting: Span[] = [];
  private timer: NodeJS.Timeout | null = null;
  private sending: Promise<void> | null = null;
  private pauseMs = 0;
  private closing = false;

  /** `endpoint` is a URL; without a path, the one that OTLP/HTTP names is taken. `host` names this host. */
  constructor(endpoint: string, host: string, onProblem: (problem: string) => void) {
    const url = new URL(endpoint);
    this.endpoint = endpoint;
    this.host = host;
    this.onProblem = onProblem;
    this.path = url.pathname === '/' ? defaultPath : url.pathname;
    this.origin = url.origin;
  }

  add(span: Span): void {
    if (this.waiting.length >= maxWaiting || this.closing) {
      this.lost++;
      return;
    }
    this.waiting.push(span);
    this.schedule();
  }

  private schedule(): void {
    if (this.sending !== null || this.waiting.length === 0) return;
    if (this.waiting.length >= maxBatch && this.pauseMs === 0) this.begin();
    else this.timer ??= setTimeout(() => this.begin(), Math.max(gatherMs, this.pauseMs)).unref();
  }

  private begin(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.sending = this.send(this.waiting.splice(0, maxBatch)).then(() => {
      this.sending = null;
      if (!this.closing) this.schedule();
    });
  }

  /** Never rejects: what cannot be sent is lost, and said so when that begins. */
  private async send(batch: readonly Span[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      this.client ??= await clientOf(this.origin);
      const { statusCode, body } = await this.client.request({
        method: 'POST',
        path: this.path,
        headers: { 'content-type': 'application/json' },
        body: exportBody(batch, this.host),
      });
      await body.dump();
      if (statusCode < 300) this.pauseMs = 0;
      else this.failed(batch, `the collector answered ${statusCode}`);
    } catch (error) {
      this.failed(batch, messageOf(error));
    }
  }

  private failed(batch: readonly Span[], problem: string): void {
    this.lost += batch.length;
    if (this.pauseMs === 0) this.onProblem(problem);
    this.pauseMs = Math.min(maxPauseMs, Math.max(minPauseMs, 2 * this.pauseMs));
  }

  /** Sends what waits, for as long as one request may take, then lets go. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    await this.sending;
    if (this.pauseMs === 0) await this.send(this.waiting.splice(0, maxBatch));
    this.lost += this.waiting.splice(0).length;
    await this.client?.destroy();
  }
}

/** Loaded with the first batch: the library takes 4 MB in every thread that has it. */
async function clientOf(origin: string): Promise<Client> {
  const { Client } = await import('undici');
  const timeouts = { headersTimeout: requestTimeoutMs, bodyTimeout: requestTimeoutMs };
  return new Client(origin, { ...timeouts, connectTimeout: requestTimeoutMs });
}
