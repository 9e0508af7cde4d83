/** How long to wait before a retry: longer each time, and never all callers at the same moment. */
import type { Random } from '../../core.ts';
import type { RetryPolicy } from '../policy.ts';

/**
 * Milliseconds before retry number `retry` (0 is the first): drawn between the policy's `backoffMs` and that
 * doubled so often as it is retried, at most `maxBackoffMs` ("Full Jitter" with a floor, from Brooker,
 * "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 */
export function backoffMs(
  policy: Pick<RetryPolicy, 'backoffMs' | 'maxBackoffMs'>,
  retry: number,
  random: Random,
): number {
  const most = Math.max(policy.maxBackoffMs, policy.backoffMs);
  const upper = Math.min(policy.backoffMs * 2 ** (retry + 1), most);
  return policy.backoffMs + (upper - policy.backoffMs) * random.next();
}
