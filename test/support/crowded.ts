/** Runs code where hardly a file descriptor is left. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** Enough for a process to start; the code finds them all taken. */
const descriptors = 60;

/**
 * What `script`, a module, prints as JSON from a process of its own. It calls `crowd()`, after which no descriptor is
 * free, and `uncrowd()` to have them back.
 */
export async function inCrowdedProcess<T>(script: string): Promise<T> {
  const prelude = `
    import { closeSync, openSync } from 'node:fs';
    const taken = [];
    function crowd() {
      try {
        for (;;) taken.push(openSync('/dev/null'));
      } catch (error) {
        if (error.code !== 'EMFILE') throw error;
      }
    }
    function uncrowd() {
      for (const descriptor of taken.splice(0)) closeSync(descriptor);
    }
  `;
  const url = `data:text/javascript,${encodeURIComponent(prelude + script)}`;
  const command = `ulimit -n ${descriptors} && exec "$0" --disable-warning=ExperimentalWarning -e 'import(process.argv[1])' "$1"`;
  const child = spawn('/bin/sh', ['-c', command, process.execPath, url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return JSON.parse(printed) as T;
}
