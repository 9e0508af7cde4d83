/**
 * A process of its own for the store's tests. Once open it prints `open`; with the argument `hold` it then
 * waits for a line on stdin, else it writes synced entries for ever and prints each number it was promised.
 * With `fill` it prints the code of the first failure, waits for a line, writes once more and prints `ok`.
 */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { Fault } from '../../../../src/core.ts';
import { Store } from '../../../../src/gossip/io/store.ts';

const [directory, mode, firstNumber] = process.argv.slice(2);
const say = (line: string): number => writeSync(1, `${line}\n`);
const store = await Store.open(directory!);
say('open');

let next = Number(firstNumber ?? 0);
const put = (size: number): Promise<void> => {
  const number = next++;
  const value = Buffer.alloc(size, String(number));
  return store.write([{ type: 'put', key: `n/${number}`, value }], true).then(() => void say(String(number)));
};

async function writeForEver(): Promise<void> {
  for (;;) await put(100);
}

if (mode === 'hold') {
  await once(process.stdin, 'data');
  await store.close();
} else if (mode === 'fill') {
  try {
    for (;;) await put(100_000);
  } catch (error) {
    say(error instanceof Fault ? error.code : String(error));
  }
  await once(process.stdin, 'data');
  await put(1000);
  say('ok');
  await store.close();
} else {
  await Promise.all(Array.from({ length: 4 }, writeForEver));
}
process.exit();
