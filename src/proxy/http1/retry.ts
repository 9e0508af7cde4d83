/** Which failures and answers policy wants tried again, compiled to tables. */
import type { RetryCondition, RetryPolicy } from '../policy.ts';
import { ascii } from './bytes.ts';
import { fieldValue } from './facts.ts';
import type { ResponseHead } from './head.ts';

export interface RetryPlan {
  /** 0 forbids even what is safe without any policy. */
  readonly maxRetries: number;
  /** Connections that failed before anything was sent on them. */
  readonly unseen: boolean;
  /** Connections that broke, or stayed silent for too long, before any byte of the answer. */
  readonly unknown: boolean;
  /** By status, 0 to 599. */
  readonly statuses: Uint8Array;
  /** By gRPC status, 0 to 16; null where none is asked for. */
  readonly grpcStatuses: Uint8Array | null;
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

const grpcCodes: Readonly<Partial<{ [condition in RetryCondition]: number }>> = {
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
};
const grpcStatusName = ascii('grpc-status');

/** The conditions mean what Envoy's do (its `x-envoy-retry-on`): 5xx and gateway-error hold for any reset too. */
export function compileRetry(policy: RetryPolicy | null): RetryPlan | null {
  if (policy === null) return null;
  const on = new Set(policy.on);
  const statuses = new Uint8Array(600);
  if (on.has('5xx')) statuses.fill(1, 500);
  if (on.has('gateway-error')) statuses.fill(1, 502, 505);
  if (on.has('retriable-4xx')) statuses[409] = 1;
  for (const status of policy.statusCodes) statuses[status] = 1;
  const grpcStatuses = new Uint8Array(17);
  for (const condition of on) if (condition in grpcCodes) grpcStatuses[grpcCodes[condition]!] = 1;
  const unknown = on.has('reset') || on.has('5xx') || on.has('gateway-error');
  return {
    maxRetries: policy.maxRetries,
    unseen: unknown || on.has('connect-failure') || on.has('refused-stream'),
    unknown,
    statuses,
    grpcStatuses: grpcStatuses.includes(1) ? grpcStatuses : null,
    backoffMs: policy.backoffMs,
    maxBackoffMs: policy.maxBackoffMs,
  };
}

/** Whether policy would rather have another answer than this one. */
export function isUnwanted(plan: RetryPlan, bytes: Buffer, head: ResponseHead): boolean {
  if (plan.statuses[head.status] === 1) return true;
  if (plan.grpcStatuses === null || !head.isGrpc) return false;
  const code = fieldValue(bytes, head.fieldsStart, head.end, grpcStatusName);
  return code !== null && plan.grpcStatuses[Number(code)] === 1;
}
