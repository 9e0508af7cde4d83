import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childCpuMs } from '../../../../bench/trust/plain-signing.ts';

test("CPU time of a shell's children is the sum of both figures on the last line of times", () => {
  assert.equal(childCpuMs('0m0.001000s 0m0.002000s\n1m0.150000s 0m0.050000s\n'), 60_200);
});

test('anything but the output of times is refused', () => {
  for (const printed of ['', 'nothing', '0m0.0s 12\n'])
    assert.throws(() => childCpuMs(printed), /not a line of times/);
});
