/** What three real agents say of each other: distances, events, and a host that is forced out. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import type { MemberStatus } from '../../src/agent/catalog/member-status.ts';

let flock: Flock;
let one: Bird;
let two: Bird;
let three: Bird;
before(async () => {
  flock = new Flock();
  [one, two, three] = (await flock.start([
    { n: 1, name: 'one' },
    { n: 2, name: 'two' },
    { n: 3, name: 'three' },
  ])) as [Bird, Bird, Bird];
});
after(() => flock.stop());

const members = () => one.json<MemberStatus[]>('members');
const stateOf = async (name: string) => (await members()).find((member) => member.name === name)?.state;

test('every member soon has an incarnation and a measured round trip', async () => {
  await until('both were measured', 20_000, async () =>
    (await members()).every(({ roundTripMs, incarnation }) => roundTripMs !== null && incarnation > 0),
  );
  const own = (await members()).find(({ name }) => name === 'one');
  assert.equal(own?.roundTripMs, 0);
});

test('any agent orders by nearness to any other, and finds its clock and disk in order', async () => {
  await until('one has an estimate from two to three', 20_000, async () =>
    (await members()).every(({ estimatedMs }) => estimatedMs !== null),
  );
  const nodes = await one.get<{ Node: string }[]>('/v1/catalog/nodes?near=three');
  assert.equal(nodes[0]?.Node, 'three');
  assert.equal(nodes.length, 3);
  const subjects = (await one.json<{ subject: string }[]>('check')).map(({ subject }) => subject);
  assert.ok(!subjects.includes('clock'), subjects.join());
});

test('a death is told as it happens, and an operator makes a leave of it until the host is back', async () => {
  const request = get(`${one.httpUrl}/v1/mesh/events`);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const told: string[] = [];
  const lines = createInterface({ input: response });
  // The test itself cuts the stream off.
  for (const emitter of [response, lines]) emitter.on('error', () => {});
  lines.on('line', (line) => {
    if (line === '') return;
    const { type, name } = JSON.parse(line) as { type: string; name: string };
    if (name === 'three' && type !== 'record') told.push(type);
  });
  three.program!.child.kill('SIGKILL');
  await three.program!.exited;
  await until('three is down', 15_000, async () => (await stateOf('three')) === 'down');
  assert.equal((await one.cli('force-leave', 'three')).code, 1, 'not without the token');
  const forced = await two.cli('force-leave', 'three', ...flock.operator());
  assert.equal(forced.stdout, 'three counts as left, unless it is alive and says so\n', forced.stderr);
  await until('one takes it over', 10_000, async () => (await stateOf('three')) === 'left');
  await three.start();
  await until('three is back', 15_000, async () => (await stateOf('three')) === 'alive');
  await until('all of it was told', 10_000, async () => told.at(-1) === 'alive');
  assert.deepEqual(told, ['suspect', 'down', 'left', 'alive']);
  lines.close();
  request.destroy();
});

test('metrics of a live agent count its probes and the delay of what it was told', async () => {
  const text = await (await fetch(`${one.httpUrl}/metrics`)).text();
  assert.match(text, /^starling_probes_total\{purpose="round",outcome="acked"\} [1-9]/m);
  assert.match(text, /^starling_delta_latency_milliseconds_count [1-9]/m);
  assert.match(text, /^starling_membership_lag_milliseconds \d/m);
  assert.match(text, /^starling_store_write_milliseconds\{quantile="0.99"\} \d/m);
});
