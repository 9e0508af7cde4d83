/** How one agent's life goes: killed, started again, leaving and coming back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOf, definitionOf } from '../../support/agent.ts';
import { Flock } from '../../support/flock.ts';

test('a restart brings services, their checks’ status and their identities back without asking anybody', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api', { checks: [checkOf({ id: 'alive', ttlMs: 3_600_000 })] });
  second.command({
    type: 'register-check',
    serviceId: 'api',
    check: checkOf({ id: 'beside', ttlMs: 3_600_000 }),
  });
  for (const checkId of ['alive', 'beside'])
    second.command({ type: 'report-ttl', checkId, status: 'passing', output: 'fine' });
  flock.run(2000);
  const certificate = second.identities.get('api')?.certPem;
  second.kill();
  first.isCut = true;
  second.keysMade.length = 0;
  second.start();
  flock.run(500);
  assert.deepEqual(
    second.core.registry.checks().map(({ check }) => check.id),
    ['alive', 'beside'],
  );
  assert.equal(second.statusOf('api'), 'passing');
  assert.deepEqual(second.keysMade, []);
  assert.equal(second.lastConfig.identities[0]?.certPem, certificate);
  assert.equal(second.core.isSynchronised(), true);
});

test('a killed host that is back refutes its death', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.kill();
  flock.run(20_000);
  assert.equal(first.core.catalog.hostNamed('second')?.state, 'down');
  second.start();
  flock.run(10_000);
  assert.equal(first.core.catalog.hostNamed('second')?.state, 'alive');
});

test('leaving says goodbye first, answers everyone who asked, then stops', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const requests = [second.ask({ type: 'leave' }), second.ask({ type: 'leave' })];
  assert.equal(second.isRunning, true);
  assert.equal(first.core.catalog.hostNamed('second'), undefined);
  assert.equal(
    requests.some((request) => second.answers.has(request)),
    false,
  );
  flock.run(250);
  assert.equal(second.isRunning, false);
  for (const request of requests) assert.deepEqual(second.answers.get(request), { value: null });
  assert.equal(first.logs.filter(({ event }) => event === 'member-left').length, 1);
});

test('a goodbye waits for a slow disk, but not for one that never ends', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.disk = 'stalled';
  second.ask({ type: 'leave' });
  flock.run(1000);
  assert.equal(second.isRunning, true);
  flock.run(1000);
  assert.equal(second.isRunning, false);
});

test('a host that left is back when it starts again', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.ask({ type: 'leave' });
  flock.run(1000);
  second.start();
  flock.run(5000);
  assert.equal(first.core.catalog.hostNamed('second')?.state, 'alive');
});

test('an agent that starts again as it was says nothing anew, and what changed about it once', () => {
  const { flock, first } = Flock.founded();
  const said = () =>
    [...first.core.gossip.replica.ofAuthor(first.id)].map(({ kind, version }) => `${kind} ${version}`);
  const before = said();
  first.kill();
  first.start();
  flock.run(100);
  assert.deepEqual(said(), before);
  first.kill();
  first.zone = 'b';
  first.start();
  flock.run(100);
  assert.equal(first.core.catalog.hostNamed('first')?.value.zone, 'b');
  assert.deepEqual(
    said()
      .filter((one) => !before.includes(one))
      .map((one) => one.split(' ')[0]),
    ['host'],
  );
});

test('what was not durable when an agent was killed is gone, and was answered to nobody', () => {
  const { first } = Flock.founded();
  first.disk = 'stalled';
  const definition = definitionOf({ name: 'web' });
  const request = first.ask({ type: 'register-service', definition });
  first.kill();
  first.disk = 'working';
  first.start();
  assert.equal(first.answers.has(request), false);
  assert.deepEqual(first.core.catalog.serviceNames(), []);
});

test('a joiner whose sponsor is out of reach at first dials it until the mesh’s records are here', () => {
  const { flock, first } = Flock.founded();
  const second = flock.admit('second', first, flock.token(first));
  first.isCut = true;
  second.start();
  flock.run(10_000);
  assert.equal(second.core.isSynchronised(), false);
  first.isCut = false;
  flock.run(10_000);
  assert.equal(second.core.isSynchronised(), true);
});
