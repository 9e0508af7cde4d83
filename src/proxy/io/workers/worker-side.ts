/** A data plane in a thread of its own, as the agent's thread asks it to be. */
import type { MessagePort } from 'node:worker_threads';
import { messageOf } from '../../../core.ts';
import { noLosses } from '../../workers/merge.ts';
import type { FromWorker, ToWorker } from '../../workers/messages.ts';
import { TapWindow } from '../../workers/tap-window.ts';
import { createDataPlane } from '../embedded.ts';
import type { DataPlaneOptions } from '../options.ts';

/** Serves until it is asked to close. */
export function serveDataPlane(parent: MessagePort, options: Omit<DataPlaneOptions, 'log'>): void {
  const say = (message: FromWorker): void => parent.postMessage(message);
  const plane = createDataPlane({
    ...options,
    log: (level, event, fields) => say({ type: 'log', level, event, fields }),
  });
  const taps = new Map<number, () => void>();
  const tapWindow = new TapWindow();
  // Only when asked: of a thousand rows it takes 20 ms, in which nothing is carried.
  const tell = (): void => {
    const stats = plane.stats();
    say({ type: 'stats', stats: { ...stats, lost: { ...noLosses, ...stats.lost, taps: tapWindow.lost } } });
  };

  const answer = (request: number, work: Promise<void>): Promise<void> =>
    work.then(
      () => {
        tell();
        say({ type: 'done', request, problem: null });
      },
      (error: unknown) => say({ type: 'done', request, problem: messageOf(error) }),
    );

  parent.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'apply':
        void answer(message.request, plane.apply(message.config));
        break;
      case 'refresh':
        void answer(message.request, Promise.resolve());
        break;
      case 'tap': {
        const { tap, filter } = message;
        taps.set(
          tap,
          plane.tap(filter, (event) => {
            if (tapWindow.admits()) say({ type: 'tapped', tap, event });
          }),
        );
        break;
      }
      case 'untap':
        taps.get(message.tap)?.();
        taps.delete(message.tap);
        break;
      case 'taken':
        tapWindow.taken();
        break;
      case 'close':
        void answer(message.request, plane.close(message.graceMs)).then(() => parent.close());
        break;
    }
  });
}
