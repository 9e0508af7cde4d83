/**
 * Copies of requests, sent to another cluster whose answers nobody waits for. The request itself never waits for
 * its copy and never hears of it; what does not fit within the bounds is not copied.
 */
import type { Millis } from '../../core.ts';
import type { BalancedEndpoint, Outcome } from '../balance/endpoint.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import type { UpstreamFailure } from '../failure.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import { happens } from '../resilience/chance.ts';
import { highWaterBytes, type Transport } from '../transport.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { fieldSpan } from './facts.ts';
import { host } from './names.ts';
import type { RouteTarget } from './route.ts';
import type { Asker, UpstreamConnection } from './upstream.ts';

/** Copies of one route that wait for their answers at once. */
const maxUnderWay = 64;
/** How long an answer may take that nobody waits for. */
const maxAnswerMs = 15_000;
/** Tells a mirror's logs from those of real requests; Envoy's way. */
const hostSuffix = Buffer.from('-shadow');

export class Mirror {
  private readonly percent: number;
  private readonly target: Pick<RouteTarget, 'groups' | 'counter'>;
  private underWay = 0;

  /** `percent` is 0 to 100. */
  constructor(percent: number, target: Pick<RouteTarget, 'groups' | 'counter'>) {
    this.percent = percent;
    this.target = target;
  }

  /**
   * The copy of a request, of which `forwarded` is all or the beginning; null where there is to be none. `counter`
   * is the request's.
   */
  copy(
    forwarded: Buffer,
    isHeadRequest: boolean,
    counter: TrafficCounter,
    context: EngineContext,
  ): MirroredRequest | null {
    if (!happens(this.percent, context.random)) return null;
    if (this.underWay >= maxUnderWay) {
      counter.mirrorsSkipped++;
      return null;
    }
    return new MirroredRequest(withShadowHost(forwarded), isHeadRequest, this, context);
  }

  /** Sends a copy whose body is complete; `parts` are those behind the first one. False where it does not fit. */
  send(copy: MirroredRequest, parts: readonly Buffer[], protocol: RequestProtocol, now: Millis): boolean {
    const group = this.target.groups[0]!;
    if (this.underWay >= maxUnderWay) return false;
    const endpoint = group.pick(now, undefined);
    if (endpoint === null) return false;
    this.underWay++;
    copy.send(endpoint, group.upstreamOf(endpoint).take(protocol, false), parts, now);
    return true;
  }

  /** A copy was answered, or will not be. */
  ended(status: number, durationMs: number): void {
    this.underWay--;
    this.target.counter.finished(status, durationMs);
  }
}

/** Statuses of copies that got no answer. */
const failedStatus = 502;
const timedOutStatus = 504;

export class MirroredRequest implements Asker, Timed {
  readonly minorVersion = 1;
  readonly isHeadRequest: boolean;
  readonly wantsUpgrade = false;
  readonly requestDone = true;
  readonly isGrpc = false;
  grpcStatus = -1;
  keepAlive = true;
  readonly unreadBytes = 0;
  readonly responseEdits = null;
  deadlineMs: Millis = Infinity;
  private readonly first: Buffer;
  readonly mirror: Mirror;
  private readonly context: EngineContext;
  private endpoint: BalancedEndpoint | null = null;
  private upstream: UpstreamConnection | null = null;
  private startedAt: Millis = 0;
  private status = 0;

  constructor(first: Buffer, isHeadRequest: boolean, mirror: Mirror, context: EngineContext) {
    this.first = first;
    this.isHeadRequest = isHeadRequest;
    this.mirror = mirror;
    this.context = context;
  }

  send(
    endpoint: BalancedEndpoint,
    upstream: UpstreamConnection,
    parts: readonly Buffer[],
    now: Millis,
  ): void {
    this.endpoint = endpoint;
    this.upstream = upstream;
    this.startedAt = now;
    this.deadlineMs = now + maxAnswerMs;
    this.context.deadlines.add(this);
    upstream.attach(this);
    const { transport } = upstream;
    transport.write(this.first, 0, this.first.length);
    for (const part of parts) transport.write(part, 0, part.length);
    // Nothing is kept for a mirror that does not read. What waits may be held up on this side: it is not to blame.
    if (transport.pendingBytes > highWaterBytes) this.giveUp(failedStatus, 'abandoned');
  }

  private giveUp(status: number, outcome: Outcome): void {
    this.upstream?.abandon();
    this.end(status, outcome);
  }

  private end(status: number, outcome: Outcome): void {
    const now = this.context.now();
    this.upstream = null;
    this.context.deadlines.remove(this);
    this.endpoint?.end(now, outcome, now - this.startedAt);
    this.endpoint = null;
    this.mirror.ended(status, now - this.startedAt);
  }

  onDeadline(): void {
    this.giveUp(timedOutStatus, 'failed');
  }

  declines(): boolean {
    return false;
  }
  answerDeclined(): void {}
  resumeInput(): void {}
  sendInformational(): void {}
  sendBody(): void {}
  startResponse(status: number): void {
    this.status = status;
  }
  finishResponse(): void {
    this.end(this.status, this.status < 500 ? 'ok' : 'failed');
  }
  upstreamFailed(_failed: UpstreamConnection, failure: UpstreamFailure): void {
    this.end(failure.status, failure.outcome);
  }
  becomeTunnel(_response: Buffer, upstream: Transport): void {
    upstream.destroy();
    this.end(failedStatus, 'failed');
  }
}

/** `-shadow` behind the name of the host, in front of its port. */
function withShadowHost(forwarded: Buffer): Buffer {
  const fieldsAt = forwarded.indexOf('\n') + 1;
  const fieldsEnd = forwarded.indexOf('\r\n\r\n') + 4;
  const span = fieldSpan(forwarded, fieldsAt, fieldsEnd, host);
  if (span === null) return forwarded;
  const value = forwarded.toString('latin1', span.start, span.end);
  const port = /:\d*$/.exec(value)?.[0].length ?? 0;
  const at = span.end - port;
  return Buffer.concat([forwarded.subarray(0, at), hostSuffix, forwarded.subarray(at)]);
}
