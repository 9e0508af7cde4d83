/**
 * The tap as server-sent events (WHATWG HTML, 9.2): requests as they end on this host. A reader that is slow misses
 * some and is told how many; requests never wait for it.
 */
import { Readable } from 'node:stream';
import { Fault } from '../../../core.ts';
import type { TapEvent, TapFilter } from '../../../proxy/observe/tap.ts';
import { serviceNamePattern } from '../../kinds.ts';
import { heartbeatMs } from './event-stream.ts';

/** Events that wait for the reader; what comes beyond is missed. */
const maxWaiting = 256;
/** Heartbeats in a row that found what was written last still unread. */
const patience = 2;
const maxPathLength = 1024;

/** Sets off telling, and returns how to stop. */
export type StartTap = (onTap: (event: TapEvent) => void) => () => void;

export class TapStream extends Readable {
  private readonly stopTap: () => void;
  private readonly heartbeat: NodeJS.Timeout;
  private waiting: string[] = [];
  private missed = 0;
  /** Whether the socket takes more. */
  private hungry = false;
  private unreadBeats = 0;

  constructor(start: StartTap) {
    super({ highWaterMark: 16 * 1024 });
    this.stopTap = start((event) => this.tell(event));
    this.heartbeat = setInterval(() => this.beat(), heartbeatMs);
    this.heartbeat.unref();
    // An answer without a body would not be sent before the first event.
    this.push(': tapping\n\n');
  }

  private tell(event: TapEvent): void {
    if (this.waiting.length >= maxWaiting) this.missed++;
    else this.waiting.push(`event: request\ndata: ${JSON.stringify(event)}\n\n`);
    if (this.hungry) this.feed();
  }

  private feed(): void {
    if (this.waiting.length === 0) return;
    const text = this.waiting.join('');
    const lost = this.missed > 0 ? `event: lost\ndata: ${JSON.stringify({ count: this.missed })}\n\n` : '';
    this.waiting = [];
    this.missed = 0;
    this.hungry = this.push(text + lost);
  }

  override _read(): void {
    this.hungry = true;
    this.unreadBeats = 0;
    this.feed();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.stop();
    done(error);
  }

  /** No more comes. */
  end(): void {
    this.stop();
    this.push(null);
  }

  private stop(): void {
    this.hungry = false;
    clearInterval(this.heartbeat);
    this.stopTap();
  }

  private beat(): void {
    if (this.hungry) this.hungry = this.push(': still here\n\n');
    else if (++this.unreadBeats >= patience) this.destroy();
  }
}

/** What of all requests is asked for; `Fault('bad-query')` for what no request could match. */
export function tapFilterOf(query: URLSearchParams): TapFilter {
  const party = (name: 'source' | 'destination'): string => {
    const value = query.get(name) ?? '';
    if (value === '' || value === '*') return '';
    if (!serviceNamePattern.test(value))
      throw new Fault('bad-query', 'must be the name of a service, or * for any', { field: name });
    return value;
  };
  const path = query.get('path') ?? '';
  if (path !== '' && !(path.startsWith('/') && path.length <= maxPathLength))
    throw new Fault('bad-query', 'must be the beginning of a path', { field: 'path' });
  const status = query.get('status') ?? '';
  if (status !== '' && !/^([1-5]\d\d|[1-5]xx|[a-z]{2,4})$/i.test(status))
    throw new Fault('bad-query', 'must be a status, a class such as 5xx, or a response flag such as UF', {
      field: 'status',
    });
  return { source: party('source'), destination: party('destination'), path, status };
}
