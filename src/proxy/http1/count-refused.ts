import type { Millis } from '../../core.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { RequestHead } from './head.ts';
import { grpcStatusOf, type Refusal } from './refusal.ts';

/** Counts and tells of a request that is refused before it is anybody's to serve. */
export function countRefused(
  httpCounter: TrafficCounter,
  refusal: Refusal,
  bytes: Buffer,
  head: RequestHead,
  now: Millis,
): void {
  const { isGrpc } = head;
  const counter = isGrpc ? httpCounter.grpc : httpCounter;
  const status = isGrpc ? 200 : refusal.status;
  const grpcStatus = isGrpc ? grpcStatusOf(refusal) : undefined;
  const requestBytes = head.end - head.start;
  const flags = counter.refuse(refusal.reason, refusal.rule, status);
  counter.finished(status, 0, flags, requestBytes, 0, grpcStatus);
  const observation = counter.observer?.begin(counter, bytes, head, now) ?? null;
  if (observation === null) return;
  observation.detail = refusal.text;
  observation.rule = refusal.rule;
  observation.end(now, status, flags, requestBytes, 0, grpcStatus);
}

/** As `countRefused`, for what was no request or one whose end cannot be told: nothing of it is believed. */
export function countUnread(counter: TrafficCounter, refusal: Refusal, now: Millis): void {
  const { status, rule } = refusal;
  const flags = counter.refuse(refusal.reason, rule, status);
  counter.finished(status, 0, flags);
  const observation = counter.observer?.beginStream(counter, now) ?? null;
  if (observation === null) return;
  observation.detail = refusal.text;
  observation.rule = rule;
  observation.end(now, status, flags, 0, 0);
}

/** As `countRefused`, for a byte stream. */
export function countRefusedStream(counter: TrafficCounter, refusal: Refusal, now: Millis): void {
  counter.opened();
  countUnread(counter, refusal, now);
}
