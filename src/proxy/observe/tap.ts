/** Tap: requests shown as they end to whoever asks for them. Watchers are few, and get what they asked for. Pure. */
import { Fault } from '../../core.ts';
import { flagText } from './flags.ts';
import type { Observation } from './observation.ts';
import { noGrpcStatus } from './outcomes.ts';
import type { TrafficCounter } from './traffic.ts';

/** Each null or '' asks for all. */
export interface TapFilter {
  readonly source: string;
  readonly destination: string;
  /** The beginning of the path. */
  readonly path: string;
  /** A status such as 503, a class such as `5xx`, or a response flag such as `UF`. */
  readonly status: string;
}

/** One request or byte stream that ended on this host. */
export interface TapEvent {
  /** When it began, wall clock, milliseconds since the Unix epoch. */
  readonly at: number;
  readonly reporter: 'source' | 'destination';
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'http' | 'grpc' | 'tcp';
  readonly route: string;
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly status: number;
  readonly flags: string;
  readonly grpcStatus: number | null;
  readonly detail: string;
  readonly rule: string | null;
  readonly durationMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly upstream: string;
  readonly attempts: number;
  readonly requestId: string;
  readonly traceId: string;
}

export type OnTap = (event: TapEvent) => void;

/** Watchers at once: each sees every request. */
export const maxTaps = 16;

interface Watcher {
  readonly filter: TapFilter;
  readonly onTap: OnTap;
}

export class Taps {
  private readonly watchers = new Set<Watcher>();
  private readonly onChange: () => void;

  /** `onChange` is told when the first watcher comes and the last one goes. */
  constructor(onChange: () => void) {
    this.onChange = onChange;
  }

  get isEmpty(): boolean {
    return this.watchers.size === 0;
  }

  /** Returns how to stop. `Fault('too-many-waiting')` when there are `maxTaps` already. */
  watch(filter: TapFilter, onTap: OnTap): () => void {
    if (this.watchers.size >= maxTaps)
      throw new Fault('too-many-waiting', `${maxTaps} clients tap requests already; try again`);
    const watcher = { filter, onTap };
    this.watchers.add(watcher);
    this.onChange();
    return () => {
      if (this.watchers.delete(watcher)) this.onChange();
    };
  }

  /** Whether anybody asks for requests of this row. */
  wants(counter: TrafficCounter): boolean {
    for (const { filter } of this.watchers) if (isOfRow(filter, counter)) return true;
    return false;
  }

  tell(observation: Observation, startedAtMs: number): void {
    let event: TapEvent | null = null;
    for (const { filter, onTap } of this.watchers) {
      if (!isOfRow(filter, observation.counter) || !matches(filter, observation)) continue;
      event ??= eventOf(observation, startedAtMs);
      onTap(event);
    }
  }
}

function isOfRow({ source, destination }: TapFilter, counter: TrafficCounter): boolean {
  return (
    (source === '' || source === counter.source) &&
    (destination === '' || destination === counter.destination)
  );
}

function matches({ path, status }: TapFilter, observation: Observation): boolean {
  if (path !== '' && !(observation.head?.path ?? '').startsWith(path)) return false;
  if (status === '') return true;
  const code = String(observation.status);
  if (/^[1-5]xx$/i.test(status)) return code.startsWith(status.slice(0, 1));
  return status === code || flagText(observation.flags).split(',').includes(status.toUpperCase());
}

function eventOf(observation: Observation, startedAtMs: number): TapEvent {
  const { counter, head, grpcStatus } = observation;
  return {
    at: Math.round(startedAtMs),
    reporter: counter.reporter,
    source: counter.source,
    destination: counter.destination,
    protocol: counter.protocol,
    route: counter.route,
    method: head?.method ?? '',
    authority: head?.authority ?? '',
    path: head?.path ?? '',
    status: observation.status,
    flags: flagText(observation.flags),
    grpcStatus: grpcStatus === noGrpcStatus ? null : grpcStatus,
    detail: observation.detail,
    rule: observation.rule,
    durationMs: Math.round(observation.durationMs * 1000) / 1000,
    requestBytes: observation.requestBytes,
    responseBytes: observation.responseBytes,
    upstream: observation.upstream,
    attempts: observation.attempts,
    requestId: head?.requestId ?? '',
    traceId: observation.trace?.traceId ?? '',
  };
}
