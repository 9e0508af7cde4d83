import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStarlingLine } from '../../../../bench/gossip/starling-log.ts';

const line = (event: string, host: string): string =>
  JSON.stringify({
    level: 30,
    time: '2026-11-23T00:03:32.428Z',
    host,
    id: '4dff29ab',
    incarnation: 1,
    event,
  });

test('a change of membership in the log says about which host it is', () => {
  assert.deepEqual(parseStarlingLine(line('member-alive', 'h0')), { type: 'alive', about: 0 });
  assert.deepEqual(parseStarlingLine(line('member-suspect', 'h12')), { type: 'suspect', about: 12 });
  assert.deepEqual(parseStarlingLine(line('member-down', 'h3')), { type: 'down', about: 3 });
});

test('other lines, and members that the benchmark did not start, are passed over', () => {
  assert.equal(parseStarlingLine(line('member-left', 'h3')), null);
  assert.equal(parseStarlingLine(line('member-down', 'stranger')), null);
  assert.equal(parseStarlingLine(line('definition-refused', 'h3')), null);
  assert.equal(parseStarlingLine('starling: ready name=h0'), null);
});
