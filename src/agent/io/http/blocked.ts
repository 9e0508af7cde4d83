/** Holds a request back until what it asks about has changed, its time is up, or its client is gone. */
import type { ServerResponse } from 'node:http';
import { mustWait, parseWait, type Waiters, withJitter } from '../../blocking.ts';
import type { Topic } from '../../catalog/catalog.ts';
import type { ApiContext, ApiRequest, Route } from './route.ts';

export interface Blocked {
  readonly route: Route;
  readonly topic: Topic;
  readonly context: ApiContext;
  readonly request: ApiRequest;
  readonly waiters: Waiters;
  readonly response: ServerResponse;
  readonly stopping: () => boolean;
}

/** `answer` at once or after a wait; `gone` when nobody listens any more. Throws `too-many-waiting`. */
export async function waitForChange(blocked: Blocked): Promise<'answer' | 'gone'> {
  const { query } = blocked.request;
  const wait = parseWait(query.get('index'), query.get('wait'));
  const deadline = performance.now() + withJitter(wait.waitMs, Math.random());
  // Looked at and entered among the waiters in one go: a change in between would wake nobody.
  while (!blocked.stopping() && isUnchanged(blocked, wait.seenIndex)) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) break;
    if ((await once(blocked, leftMs)) === 'gone') return 'gone';
  }
  return 'answer';
}

/** Whether the caller has seen what it would be answered, by the hash it names or by the index. */
function isUnchanged({ route, context, request, topic }: Blocked, seenIndex: number): boolean {
  const seenHash = route.hash === undefined ? null : request.query.get('hash');
  if (route.hash === undefined || seenHash === null)
    return mustWait(seenIndex, context.agent.catalog.indexOf(topic));
  return seenHash === route.hash(context, request);
}

function once({ waiters, topic, response }: Blocked, leftMs: number): Promise<'woken' | 'gone'> {
  if (response.destroyed) return Promise.resolve('gone');
  return new Promise((resolve, reject) => {
    const finish = (outcome: 'woken' | 'gone'): void => {
      clearTimeout(timer);
      response.off('close', onClose);
      stopWaiting();
      resolve(outcome);
    };
    const onClose = (): void => finish('gone');
    const timer = setTimeout(() => finish('woken'), leftMs);
    let stopWaiting = (): void => {};
    try {
      stopWaiting = waiters.add(topic, () => finish('woken'));
      response.on('close', onClose);
    } catch (error) {
      clearTimeout(timer);
      reject(error);
    }
  });
}
