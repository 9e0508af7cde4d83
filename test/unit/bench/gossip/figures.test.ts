import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, Figures } from '../../../../bench/gossip/figures.ts';

const spread = (lastMs: number[]) => ({
  ...{ lastMs, eachMs: lastMs, incomplete: 0 },
  cpuMicrosecondsPerDelivery: 100,
});

test('every way of telling a change stands beside each of the peer, all rounds together', () => {
  const [starling, serf] = [new Figures(), new Figures()];
  starling.addSpread('check', spread([10, 20]));
  starling.addSpread('check', spread([30]));
  serf.addSpread('event', spread([40]));
  serf.addSpread('tag', spread([80]));
  const rows = compare(30, starling, serf).filter(({ metric }) => metric === 'check-seen-by-all-p50-n30');
  assert.deepEqual(
    rows.map(({ peer, value, peerValue, ratio }) => ({ peer, value, peerValue, ratio })),
    [
      { peer: 'serf-event', value: 20, peerValue: 40, ratio: 0.5 },
      { peer: 'serf-tag', value: 20, peerValue: 80, ratio: 0.25 },
    ],
  );
});

test('a loss that the peer never noticed leaves our time alone, and says how many were missed', () => {
  const [starling, serf] = [new Figures(), new Figures()];
  starling.addLoss('cut', { firstMs: [900], lastMs: [1500, 1700], backMs: [300], incomplete: 0 });
  serf.addLoss('cut', { firstMs: [], lastMs: [], backMs: [200], incomplete: 2 });
  const rows = new Map(compare(10, starling, serf).map((it) => [it.metric, it]));
  const known = rows.get('cut-known-by-all-max-n10');
  assert.deepEqual([known?.value, known?.peerValue, known?.ratio], [1700, null, null]);
  assert.equal(rows.get('cut-missed-n10')?.peerValue, 2);
});

test('what was not measured has no rows', () => {
  assert.deepEqual(compare(30, new Figures(), new Figures()), []);
});
