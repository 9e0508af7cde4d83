/**
 * Event streams of the local API: each follower is a place in the one log of events, so a slow one costs no
 * memory. What it missed it is told by number; one that reads nothing for long is cut off.
 */
import { Readable } from 'node:stream';
import { Fault } from '../../../core.ts';
import type { EventLog, NumberedEvent } from '../../events.ts';

/** Followers at once, whoever they are; each costs a socket. */
export const maxFollowers = 64;
/** Events handed to a socket in one go. */
const batch = 64;
/** Silence is broken this often, so that either side learns of a connection that is gone. */
export const heartbeatMs = 15_000;
/** Heartbeats in a row that found what was written last still unread. */
const patience = 2;

/** One JSON object a line, or server-sent events (WHATWG HTML, 9.2) for browsers. */
export type StreamFormat = 'lines' | 'server-sent';

export interface FollowOptions {
  readonly format: StreamFormat;
  /** The number of the last event seen; what is kept of later ones comes first. */
  readonly after: number;
}

/** A stream without an end of its own. */
export interface EndableStream extends Readable {
  end(): void;
}

export class EventStreams {
  private readonly log: EventLog;
  private readonly followers = new Set<Follower>();
  private readonly others = new Set<EndableStream>();

  constructor(log: EventLog) {
    this.log = log;
  }

  get count(): number {
    return this.followers.size;
  }

  /** `Fault('too-many-waiting')` when there are `maxFollowers` already. */
  follow(options: FollowOptions): Readable {
    if (this.followers.size >= maxFollowers)
      throw new Fault('too-many-waiting', `${maxFollowers} clients follow events already; try again`);
    const follower = new Follower(this.log, options);
    this.followers.add(follower);
    follower.once('close', () => this.followers.delete(follower));
    return follower;
  }

  /** Has a stream that is fed by others end with the rest. Its feeder bounds how many there are. */
  keep<T extends EndableStream>(stream: T): T {
    this.others.add(stream);
    stream.once('close', () => this.others.delete(stream));
    return stream;
  }

  /** Ends every stream: the agent stops. */
  endAll(): void {
    for (const stream of [...this.followers, ...this.others]) stream.end();
  }
}

class Follower extends Readable {
  private readonly log: EventLog;
  private readonly format: StreamFormat;
  private readonly stopListening: () => void;
  private readonly heartbeat: NodeJS.Timeout;
  private seen: number;
  /** Whether the socket takes more. */
  private hungry = false;
  private unreadBeats = 0;

  constructor(log: EventLog, { format, after }: FollowOptions) {
    super({ highWaterMark: 16 * 1024 });
    this.log = log;
    this.format = format;
    this.seen = after;
    this.stopListening = log.onAdd(() => this.feed());
    this.heartbeat = setInterval(() => this.beat(), heartbeatMs);
    this.heartbeat.unref();
    // An answer without a body would not be sent before the first event.
    this.push(format === 'lines' ? '\n' : ': following\n\n');
  }

  /** No more comes. */
  end(): void {
    this.stop();
    this.push(null);
  }

  private stop(): void {
    this.hungry = false;
    clearInterval(this.heartbeat);
    this.stopListening();
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

  private feed(): void {
    while (this.hungry && this.seen !== this.log.lastIndex) {
      const { lost, events } = this.log.read(this.seen, batch);
      const texts = events.map((event) => this.textOf(event));
      if (lost > 0) texts.unshift(this.lostText(lost));
      this.seen = events.at(-1)?.index ?? this.log.lastIndex;
      if (texts.length > 0) this.hungry = this.push(texts.join(''));
    }
  }

  private textOf(event: NumberedEvent): string {
    const json = JSON.stringify(event);
    return this.format === 'lines'
      ? `${json}\n`
      : `id: ${event.index}\nevent: ${event.type}\ndata: ${json}\n\n`;
  }

  private lostText(count: number): string {
    const json = JSON.stringify({ type: 'lost', count });
    return this.format === 'lines' ? `${json}\n` : `event: lost\ndata: ${json}\n\n`;
  }

  private beat(): void {
    if (this.hungry) this.hungry = this.push(this.format === 'lines' ? '\n' : ': still here\n\n');
    else if (++this.unreadBeats >= patience) this.destroy();
  }
}
