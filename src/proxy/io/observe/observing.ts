/** Everything about single requests that leaves a data plane, as policy of the moment asks for it. */
import { hostname } from 'node:os';
import type { ProxyConfig } from '../../config.ts';
import type { ObservationLosses } from '../../dataplane.ts';
import type { EngineContext } from '../../engine.ts';
import { DenialLog } from '../../observe/denial-log.ts';
import { RequestObserver } from '../../observe/observers.ts';
import { turnEveryMs } from '../../observe/recent.ts';
import type { OnTap, TapFilter } from '../../observe/tap.ts';
import { TrafficTable } from '../../observe/traffic.ts';
import type { Log } from '../options.ts';
import { LineSink } from './line-sink.ts';
import { SpanExporter } from './span-exporter.ts';

export class Observing {
  readonly traffic: TrafficTable;
  private readonly log: Log;
  private readonly turning: NodeJS.Timeout;
  private readonly observer: RequestObserver;
  private readonly denials = new DenialLog();
  private sink: LineSink | null = null;
  private exporter: SpanExporter | null = null;
  /** Of sinks and exporters that policy has done away with. */
  private lostLines = 0;
  private lostSpans = 0;
  private readonly closing = new Set<Promise<void>>();

  constructor(context: EngineContext, log: Log) {
    this.log = log;
    this.traffic = new TrafficTable(
      () => context.now(),
      (counter, rule) => {
        const { source, destination } = counter;
        const notice = this.denials.note(source, destination, rule, context.now());
        if (notice !== null) log('warn', 'request-denied', { ...notice });
      },
    );
    const output = {
      logLine: (line: string) => this.sink?.add(line),
      span: (span: Parameters<SpanExporter['add']>[0]) => this.exporter?.add(span),
      active: (isActive: boolean) => this.traffic.observe(isActive ? this.observer : null),
    };
    this.observer = new RequestObserver(output, context.random, (at) => Date.now() + at - context.now());
    this.turning = setInterval(() => this.traffic.turn(), turnEveryMs).unref();
  }

  apply({ accessLog, tracing }: ProxyConfig): void {
    const path = accessLog === null ? null : (accessLog.file ?? '');
    if (path !== (this.sink?.path ?? null)) this.replaceSink(path);
    // Without a place to send spans to, traces are left to those who have one.
    const endpoint = tracing !== null && URL.canParse(tracing.endpoint) ? tracing.endpoint : null;
    if (endpoint !== (this.exporter?.endpoint ?? null)) this.replaceExporter(endpoint);
    this.observer.configure(accessLog, endpoint === null ? null : tracing);
  }

  private replaceSink(path: string | null): void {
    const { sink } = this;
    if (sink !== null)
      this.closed(
        sink.close().then(() => {
          this.lostLines += sink.lost;
        }),
      );
    this.sink =
      path === null
        ? null
        : new LineSink(path, (problem) => this.log('error', 'access-log-stuck', { path, problem }));
  }

  private replaceExporter(endpoint: string | null): void {
    const { exporter } = this;
    if (exporter !== null)
      this.closed(
        exporter.close().then(() => {
          this.lostSpans += exporter.lost;
        }),
      );
    this.exporter =
      endpoint === null
        ? null
        : new SpanExporter(endpoint, hostname(), (problem) =>
            this.log('warn', 'spans-not-sent', { endpoint, problem }),
          );
  }

  private closed(closing: Promise<void>): void {
    this.closing.add(closing);
    closing.then(() => this.closing.delete(closing));
  }

  tap(filter: TapFilter, onTap: OnTap): () => void {
    return this.observer.taps.watch(filter, onTap);
  }

  get losses(): ObservationLosses {
    return {
      logLines: this.lostLines + (this.sink?.lost ?? 0),
      spans: this.lostSpans + (this.exporter?.lost ?? 0),
      // In one thread each is handed over at once.
      taps: 0,
    };
  }

  /** Lets go of everything, once what waits has left. */
  async close(): Promise<void> {
    clearInterval(this.turning);
    this.observer.configure(null, null);
    this.replaceSink(null);
    this.replaceExporter(null);
    await Promise.all(this.closing);
  }
}
