/** What is told of one request when it is over: to the counters of its row, and to whoever observes it. */
import type { Millis } from '../../core.ts';
import type { RefusalReason } from '../dataplane.ts';
import { type ResponseFlags, responseFlag } from '../observe/flags.ts';
import type { Observation } from '../observe/observation.ts';
import { noGrpcStatus } from '../observe/outcomes.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import type { RequestHead } from './head.ts';

/** Reused for request after request. */
export class Account {
  /** Null between requests. */
  counter: TrafficCounter | null = null;
  /** Null for requests that nobody wants to know of. */
  observation: Observation | null = null;
  flags: ResponseFlags = 0;
  grpcStatus: number = noGrpcStatus;
  /** Of whole messages, each try counted once. */
  requestBytes = 0;
  responseBytes = 0;
  private startedAt: Millis = 0;

  /** `spoken` is what the client speaks. */
  open(
    counter: TrafficCounter,
    spoken: RequestProtocol,
    bytes: Buffer,
    head: RequestHead,
    now: Millis,
  ): void {
    const { observer } = counter;
    this.counter = counter;
    this.observation = observer === null ? null : observer.begin(counter, bytes, head, now);
    if (this.observation !== null) this.observation.isHttp2 = spoken === 'http2';
    this.flags = 0;
    this.grpcStatus = noGrpcStatus;
    this.requestBytes = 0;
    this.responseBytes = 0;
    this.startedAt = now;
  }

  /** Every request that had a route ends here, once. */
  close(
    now: Millis,
    status: number,
    reason: RefusalReason | null,
    rule: string | null,
    detail: string,
  ): void {
    const { observation, requestBytes, responseBytes, grpcStatus } = this;
    const counter = this.counter!;
    const flag = reason === null ? 0 : counter.refuse(reason, rule, status);
    // That the peer's proxy gave up says more than that its answer broke off.
    if ((this.flags & responseFlag.UR) === 0) this.flags |= flag;
    counter.finished(status, now - this.startedAt, this.flags, requestBytes, responseBytes, grpcStatus);
    if (observation !== null) {
      observation.detail = detail;
      observation.rule = rule;
      observation.end(now, status, this.flags, requestBytes, responseBytes, grpcStatus);
    }
    this.counter = null;
    this.observation = null;
  }
}
