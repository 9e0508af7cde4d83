/** Steady HTTP load from this process, with a log of when requests failed: for the demo and the tests. */
import { Agent, request } from 'undici';

export interface LoadReport {
  readonly sent: number;
  readonly failed: number;
  /** Failures by reason: a status code or an error code. */
  readonly reasons: { readonly [reason: string]: number };
  /** Milliseconds since `start`, of the first and the last failure; null without one. */
  readonly firstFailureMs: number | null;
  readonly lastFailureMs: number | null;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** One request at a time on each of `lanes`, until stopped. */
export class Load {
  private readonly url: string;
  private readonly headers: { readonly [name: string]: string };
  private readonly agent: Agent;
  private readonly latencies: number[] = [];
  private readonly reasons = new Map<string, number>();
  private readonly failures: number[] = [];
  private readonly lanes: Promise<void>[] = [];
  private readonly startedAt = performance.now();
  private running = true;
  private stopped: Promise<LoadReport> | null = null;
  private sent = 0;

  constructor(
    url: string,
    lanes: number,
    pauseMs: number,
    headers: { readonly [name: string]: string } = {},
  ) {
    this.url = url;
    this.headers = headers;
    this.agent = new Agent({ connections: lanes });
    for (let i = 0; i < lanes; i++) this.lanes.push(this.lane(pauseMs));
  }

  /** Milliseconds since the load began. */
  get elapsedMs(): number {
    return performance.now() - this.startedAt;
  }

  /** How many requests were sent so far. */
  get count(): number {
    return this.sent;
  }

  /** How many requests failed after a moment given in `elapsedMs`. */
  failedSince(elapsedMs: number): number {
    return this.failures.filter((at) => at >= elapsedMs).length;
  }

  private async lane(pauseMs: number): Promise<void> {
    while (this.running) {
      const began = performance.now();
      this.sent++;
      try {
        const answer = await request(this.url, {
          dispatcher: this.agent,
          headers: this.headers,
          headersTimeout: 5000,
        });
        await answer.body.dump();
        if (answer.statusCode === 200) this.latencies.push(performance.now() - began);
        else this.failure(String(answer.statusCode), began);
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        this.failure(code ?? message, began);
      }
      await new Promise((done) => setTimeout(done, pauseMs));
    }
  }

  private failure(reason: string, began: number): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    this.failures.push(began - this.startedAt);
  }

  /** The same report, however often it is asked for. */
  stop(): Promise<LoadReport> {
    this.stopped ??= this.end();
    return this.stopped;
  }

  private async end(): Promise<LoadReport> {
    this.running = false;
    await Promise.all(this.lanes);
    await this.agent.close();
    const sorted = this.latencies.sort((a, b) => a - b);
    return {
      sent: this.sent,
      failed: this.failures.length,
      reasons: Object.fromEntries(this.reasons),
      firstFailureMs: this.failures.length === 0 ? null : Math.min(...this.failures),
      lastFailureMs: this.failures.length === 0 ? null : Math.max(...this.failures),
      p50: sorted[Math.floor(sorted.length * 0.5)] ?? Number.NaN,
      p99: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
    };
  }
}
