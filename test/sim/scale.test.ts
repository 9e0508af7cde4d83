/** Membership and dissemination alone: every write and every death reaches everybody, the same way each time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LightNetwork, type LightUser } from '../../sim/network/light-network.ts';
import { Links } from '../../sim/network/links.ts';
import { Samples } from '../../sim/report/statistics.ts';
import { runScale } from '../../sim/scale/scale.ts';
import { measuredSerf } from '../../sim/studies/calibration.ts';
import { epoch, World } from '../../sim/world.ts';

test('three hundred members hear of every write and find every death, and a seed repeats itself', () => {
  const { run: report } = runScale({ hosts: 300, seed: 5 });
  assert.equal(report.convergence.count, 50);
  assert.ok(report.convergence.max! < 500, `${report.convergence.max} ms`);
  assert.equal(report.ejection.count, 6);
  assert.ok(report.detection.count >= 6 * 294);
  assert.ok(report.ejection.max! < 15_000, `${report.ejection.max} ms`);
  assert.equal(report.falseDowns, 0);
  assert.equal(report.bytesPerHost.count, 300);
  const [one, again, other] = [5, 5, 6].map((seed) => runScale({ hosts: 60, seed }).run);
  assert.deepEqual([again!.traceHash, again!.events], [one!.traceHash, one!.events]);
  assert.notEqual(other!.traceHash, one!.traceHash);
});

function network(hosts: number): { world: World; network: LightNetwork<string>; events: string[] } {
  const world = new World(1);
  const events: string[] = [];
  const user: LightUser<string> = {
    datagram: (host, from, message) => events.push(`${host} datagram ${from} ${message}`),
    message: (host, from, message) => events.push(`${host} message ${from} ${message}`),
    publication: (host, from, bytes) => events.push(`${host} publication ${from} ${bytes.length}`),
    connected: (host, peer) => events.push(`${host} connected ${peer}`),
    disconnected: (host, peer) => events.push(`${host} disconnected ${peer}`),
    unreachable: (host, peer) => events.push(`${host} unreachable ${peer}`),
  };
  return { world, events, network: new LightNetwork(world, new Links(world.random('network')), hosts, user) };
}

test('a light connection is dialled when there is something to say, and ends when nobody keeps it', () => {
  const { world, network: light, events } = network(2);
  light.message(0, 1, 'hello', 10);
  light.message(0, 1, 'again', 10);
  world.runUntil(epoch + 1_000);
  assert.deepEqual(events.slice(0, 2), ['0 connected 1', '1 connected 0']);
  assert.deepEqual(new Set(events.slice(2)), new Set(['1 message 0 hello', '1 message 0 again']));
  assert.equal(light.counters.dials, 1);
  assert.equal(light.sentBytes[0], 20);
  world.runUntil(epoch + 12_000);
  assert.deepEqual(new Set(events.slice(4)), new Set(['0 disconnected 1', '1 disconnected 0']));
  light.connect(1, 0);
  world.runUntil(epoch + 60_000);
  assert.deepEqual(light.openPeers(0), [1]);
});

test('a killed process is missed at once, a dark host by nobody, and neither answers a dial', () => {
  const { world, network: light, events } = network(3);
  light.connect(0, 1);
  light.connect(0, 2);
  world.runUntil(epoch + 1_000);
  events.length = 0;
  light.die(1, 'killed');
  light.die(2, 'dark');
  light.datagram(0, 2, 'anybody there?', 10);
  world.runUntil(epoch + 1_100);
  assert.deepEqual(events, ['0 disconnected 1']);
  light.connect(0, 1);
  world.runUntil(epoch + 1_200);
  assert.deepEqual(events.slice(1), ['0 unreachable 1']);
  assert.equal(light.counters.failedDials, 1);
});

test('members with the parameters of serf take as long to find a death as real serf agents do', () => {
  for (const [hosts, { p50Ms: measuredMs }] of measuredSerf) {
    const times = Array.from({ length: 6 }, (_, seed) => runScale({ hosts, seed, parameters: 'serf' }));
    const all = Samples.of(times.flatMap(({ toldAll }) => toldAll.killed.values));
    const ratio = all.quantile(0.5)! / measuredMs;
    assert.ok(ratio > 0.75 && ratio < 1.25, `${hosts} hosts: ${all.quantile(0.5)} ms, serf ${measuredMs} ms`);
  }
});
