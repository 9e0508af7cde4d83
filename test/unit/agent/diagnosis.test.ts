import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnose, type ShellFacts } from '../../../src/agent/diagnosis.ts';
import { shortId } from '../../../src/agent/kinds.ts';
import { encodeDelta } from '../../../src/gossip/spread/dissemination.ts';
import type { SwimStats } from '../../../src/gossip/swim-port.ts';
import { Flock, type FlockHost } from '../../support/flock.ts';
import { well } from '../../support/shell-facts.ts';

const findings = (host: FlockHost, facts: Partial<ShellFacts> = {}) =>
  diagnose(host.core, { ...well, ...facts }, host.flock.now).map(
    ({ grade, subject }) => `${grade} ${subject}`,
  );

test('an agent that is well says so, and nothing else', () => {
  const { flock, first } = Flock.founded();
  first.register('web');
  flock.run(2000);
  assert.deepEqual(findings(first), ['ok agent']);
});

test('every finding says what to do about it, the worst first', () => {
  const { flock, first } = Flock.founded();
  const listeners = [
    { id: 'inbound', address: '10.0.0.1', port: 21000, error: 'EADDRINUSE' },
    { id: 'outbound', address: '127.0.0.1', port: 15001, error: null },
  ];
  const facts: ShellFacts = {
    dataPlane: { traffic: [], listeners, activeConnections: 0, handshakeFailures: {}, deniedPeers: [] },
    conflicts: [{ id: 'vip/api', address: '127.4.0.1', port: 80, takenBy: 'upstream/web/db' }],
    fileProblems: ['web.json: not JSON'],
    storeProblem: 'no space left',
    damagedEntries: 2,
    missingRootKey: '/var/lib/starling/root-g0.seed',
    damagedShares: 2,
    loopLagMs: 201,
    membershipLagMs: 202,
    slowestWritesMs: 300,
  };
  const found = diagnose(first.core, facts, flock.now);
  assert.deepEqual(
    found.map(({ grade, subject }) => `${grade} ${subject}`),
    [
      'critical root key',
      'critical listener inbound',
      'critical listener vip/api',
      'critical store',
      'warning share',
      'warning disk',
      'warning store',
      'warning definitions',
      'warning event loop',
      'warning membership thread',
    ],
  );
  for (const { hint, detail } of found) assert.ok(hint !== '' && detail !== '');
});

test('a host that is down, and being alone because of it, are told apart from one that left', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  flock.join('third', first, token);
  assert.deepEqual(findings(first), ['ok agent']);
  second.kill();
  flock.run(20_000);
  assert.deepEqual(findings(first), ['critical host second']);
  flock.hosts[2]?.kill();
  flock.run(20_000);
  assert.deepEqual(findings(first), ['critical host second', 'critical host third', 'critical membership']);
  const alone = diagnose(first.core, well, flock.now).find(({ subject }) => subject === 'membership');
  assert.match(alone?.hint ?? '', /`starling ca deny list` on another/, 'nobody tells a denied host');
});

test('who came too late for the last use of a token is named, and finds it by itself', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 1 });
  const elsewhere = flock.joinRequest(flock.add('early'), token);
  flock.run(1000);
  const late = flock.join('late', first, token);
  assert.deepEqual(findings(first), ['ok agent']);
  // The other half of the mesh had let somebody in a second before.
  for (const host of [first, late]) host.feed({ type: 'delta', bytes: encodeDelta([elsewhere]) });
  flock.run(5000);
  assert.ok(findings(first).includes('warning host late'), findings(first).join());
  assert.ok(findings(late).includes('critical this host'), findings(late).join());
});

test('hosts that left are nobody’s trouble', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.ask({ type: 'leave' });
  flock.run(5000);
  assert.deepEqual(findings(first), ['ok agent']);
});

test('a certificate that does not come is critical, with the reason and whom to look at', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  first.isCut = true;
  second.register('api');
  flock.run(1000);
  const found = diagnose(second.core, well, flock.now).find(({ subject }) => subject === 'identity api');
  assert.equal(found?.grade, 'critical');
  assert.match(found?.detail ?? '', /cannot be reached/);
  assert.match(found?.hint ?? '', /come from first/);
});

test('a certificate that lasts long enough makes a failed renewal a warning', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api');
  flock.run(2000);
  first.kill();
  flock.run(7 * 3_600_000);
  const found = diagnose(second.core, well, flock.now).find(({ subject }) => subject === 'identity api');
  assert.equal(found?.grade, 'warning');
  assert.match(found?.detail ?? '', /lasts until 20/);
});

test('a joiner that has heard nothing of its mesh says where to look', () => {
  const { flock, first } = Flock.founded();
  const second = flock.admit('second', first, flock.token(first));
  first.isCut = true;
  second.start();
  flock.run(1000);
  assert.equal(second.core.isSynchronised(), false);
  assert.deepEqual(findings(second), ['warning membership']);
});

test('a founder without its root key names the file, since no service gets certificates until it is back', () => {
  const { flock, first } = Flock.founded();
  const missingRootKey = '/var/lib/starling/root-g0.seed';
  const [found] = diagnose(first.core, { ...well, missingRootKey }, flock.now);
  assert.equal(found?.grade, 'critical');
  assert.match(found?.detail ?? '', /^\/var\/lib\/starling\/root-g0\.seed is gone/);
  assert.match(found?.hint ?? '', /backup/);
});

test('maintenance of the host and of each service is a warning that says how to end it', () => {
  const { flock, first } = Flock.founded();
  first.register('web');
  first.register('api');
  flock.run(2000);
  const maintain = (serviceId: string, enable: boolean) =>
    first.command({ type: 'maintenance', serviceId, enable, reason: enable ? 'new disks' : '' });
  maintain('', true);
  maintain('web', true);
  const found = diagnose(first.core, well, flock.now);
  assert.deepEqual(
    found.map(({ grade, subject, detail, hint }) => [grade, subject, detail, hint.split(': ')[1]]),
    [
      ['warning', 'host first', 'in maintenance: new disks', 'starling maint --disable'],
      ['warning', 'service web', 'in maintenance: new disks', 'starling maint --disable --service web'],
    ],
  );
  maintain('', false);
  maintain('web', false);
  assert.deepEqual(findings(first), ['ok agent']);
});

test('a host that no datagram reaches stays alive, and is named until one gets through', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.run(2000);
  second.isUdpBlocked = true;
  flock.run(30_000);
  assert.equal(first.core.catalog.host(second.id)?.state, 'alive');
  const [found] = diagnose(first.core, well, flock.now);
  assert.equal(found?.grade, 'warning');
  assert.equal(found?.subject, 'host second');
  assert.match(found?.detail ?? '', /UDP seems blocked/);
  second.isUdpBlocked = false;
  flock.run(5000);
  assert.deepEqual(findings(first), ['ok agent']);
});

/** As membership tells its agent once it has found something. */
function tellStats(host: FlockHost, found: Partial<SwimStats>): void {
  const stats = { ...host.core.gossip.stats().membership, ...found };
  host.feed({ type: 'swim', report: { type: 'stats', stats } });
}

test('a host that only helpers reach is named, with what to open; one that is down is another matter', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.run(2000);
  tellStats(first, { throughHelpers: [second.id], withoutDatagrams: [second.id] });
  const [found, ...more] = diagnose(first.core, well, flock.now);
  assert.deepEqual(more, [], 'one finding says it all');
  assert.deepEqual([found?.grade, found?.subject], ['warning', 'host second']);
  assert.match(found?.detail ?? '', /^answers other hosts and not this one/);
  assert.match(found?.hint ?? '', /^let TCP and UDP between here and 10\.0\.0\.2:7946 through/);
  tellStats(first, { throughHelpers: [], withoutDatagrams: [] });
  assert.deepEqual(findings(first), ['ok agent']);
  second.kill();
  flock.run(20_000);
  tellStats(first, { throughHelpers: [second.id], withoutDatagrams: [] });
  assert.ok(!diagnose(first.core, well, flock.now).some(({ detail }) => detail.startsWith('answers')));
});

test('a host that claims deaths of the living is named, and the log says so once', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.run(2000);
  for (let i = 0; i < 3; i++) tellStats(first, { discredited: [second.id] });
  const [found] = diagnose(first.core, well, flock.now);
  assert.deepEqual([found?.grade, found?.subject], ['warning', 'host second']);
  assert.match(found?.detail ?? '', /cut off from them, or lies$/);
  const alarms = first.logs.filter(({ event }) => event === 'false-claims');
  assert.deepEqual(
    alarms.map(({ fields }) => fields.subject),
    [shortId(second.id)],
  );
  tellStats(first, { discredited: [] });
  assert.deepEqual(findings(first), ['ok agent']);
});

test('a disk and threads that are a little slow are nobody’s trouble', () => {
  const { first } = Flock.founded();
  assert.deepEqual(findings(first, { slowestWritesMs: 200, membershipLagMs: 200, loopLagMs: 200 }), [
    'ok agent',
  ]);
});

test('a host whose clock is off is named by the others, and finds by itself that it is the one', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const hosts = ['second', 'third', 'fourth'].map((name) => flock.join(name, first, token));
  flock.run(30_000);
  assert.deepEqual(findings(first), ['ok agent']);
  hosts[1]!.clockAheadMs = 1500;
  flock.run(30_000);
  const found = diagnose(first.core, well, flock.now);
  assert.deepEqual(
    found.map(({ subject, detail }) => `${subject}: ${detail}`),
    ["host third: its clock is 1.5 s ahead of this host's"],
  );
  const own = diagnose(hosts[1]!.core, well, flock.now);
  assert.deepEqual(
    own.map(({ subject, detail }) => `${subject}: ${detail}`),
    ['clock: this host is 1.5 s ahead of most others'],
  );
  hosts[1]!.clockAheadMs = 0;
  flock.run(30_000);
  assert.deepEqual([findings(first), findings(hosts[1]!)], [['ok agent'], ['ok agent']]);
});
