/** Holds a request back until what it asks about has changed, its time is up, or its client is gone. */
import type { ServerResponse } from 'node:http';
import { mustWait, parseWait, type Waiters, withJitter } from '../../blocking.ts';
import type { Topic } from '../../catalog.ts';
import { contentHash, type Json } from '../../consul.ts';
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
  const { request } = blocked;
  const { seenIndex, waitMs } = parseWait(request.query.get('index'), request.query.get('wait'));
  const deadline = performance.now() + withJitter(waitMs, Math.random());
  const { catalog } = blocked.context.agent;
  const seenHash = blocked.route.hashed ? request.query.get('hash') : null;
  const unchanged = async (): Promise<boolean> =>
    seenHash === null
      ? mustWait(seenIndex, catalog.indexOf(blocked.topic))
      : seenHash !== '' && (await currentHash(blocked)) === seenHash;
  while (!blocked.stopping() && (await unchanged())) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) break;
    if ((await once(blocked, leftMs)) === 'gone') return 'gone';
  }
  return 'answer';
}

async function currentHash({ route, context, request }: Blocked): Promise<string> {
  const { body } = await route.answer(context, request);
  return contentHash(body as Json);
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
