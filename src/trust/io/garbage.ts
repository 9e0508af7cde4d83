/**
 * Has this thread's garbage collected at once. Node frees a key, and OpenSSL wipes it, only when the collector
 * finds that nothing refers to it any more: in a thread that idles that may be never.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Some tens of milliseconds in which the thread stands still: for what happens once in the life of a mesh. What
 * the caller's own functions still refer to stays: call it from a turn of the event loop of its own.
 */
export function collectGarbage(): void {
  // Only contexts made while the flag is set have the function. It is one flag for all threads, and two of them
  // forget one key at one time: so nobody takes it back.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}
