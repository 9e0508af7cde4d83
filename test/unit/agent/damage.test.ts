/** A host whose part in the root cannot be read any more: it serves on, and signs and promises nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaLog } from '../../../src/agent/ca/ca-port.ts';
import { diagnose } from '../../../src/agent/diagnosis.ts';
import { Fault } from '../../../src/core.ts';
import { standardPolicy } from '../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../support/flock.ts';
import { well } from '../../support/shell-facts.ts';

const policy = { ...standardPolicy, settleMs: 5000, replaceAfterMs: 60_000 };

function ofFour(): { flock: Flock; hosts: [FlockHost, FlockHost, FlockHost, FlockHost] } {
  const { flock, first } = Flock.founded(policy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const [second, third] = [flock.join('second', first, token), flock.join('third', first, token)];
  flock.run(130_000);
  const fourth = flock.join('fourth', first, token);
  flock.run(10_000);
  for (const host of [first, second, third, fourth]) host.register(`on-${host.name}`);
  flock.run(10_000);
  return { flock, hosts: [first, second, third, fourth] };
}

/** Everything a host's disk has under a prefix. */
function kept({ store }: FlockHost, prefix: string): Map<string, Uint8Array> {
  return new Map([...store].filter(([key]) => key.startsWith(prefix)));
}

function status(host: FlockHost) {
  return host.core.credentials!.epochStatus();
}

function criticalSubjects(host: FlockHost): string[] {
  return diagnose(host.core, well, host.flock.now)
    .filter(({ grade }) => grade === 'critical')
    .map(({ subject }) => subject);
}

function logAt(host: FlockHost): CaLog {
  const request = host.ask({ type: 'read-ca-log', host: null });
  host.flock.run(20_000);
  const answer = host.answers.get(request);
  assert.ok(answer !== undefined && 'value' in answer, JSON.stringify(answer));
  return answer.value as CaLog;
}

function restartWith(host: FlockHost, damage: (store: Map<string, Uint8Array>) => void): void {
  host.kill();
  damage(host.store);
  host.logs.length = 0;
  host.start();
}

function errorsOf(host: FlockHost): string[] {
  return host.logs.filter(({ level }) => level === 'error').map(({ event }) => event);
}

test('a trustee that cannot read what it promised starts, follows, and promises nothing, and another takes its seat', () => {
  const { flock, hosts } = ofFour();
  const [first, second, third, fourth] = hosts;
  assert.ok(status(third).isTrustee && !status(fourth).isTrustee);
  const before = status(first).current.plan.epoch;
  restartWith(third, (store) => store.delete('epoch/state'));
  const disk = kept(third, 'epoch/');
  assert.ok(disk.size > 0);
  const secrets = [...third.secrets.keys()];
  flock.run(30_000);
  assert.deepEqual(errorsOf(third), ['epoch-state-broken']);
  assert.deepEqual(criticalSubjects(third), ['trustee state']);
  assert.equal(status(third).current.hash, status(first).current.hash, 'it walks the chain');
  assert.equal(status(third).isTrustee, false);
  assert.equal(third.core.catalog.presentHosts().length, 4, 'and sees the mesh');
  third.register('later');
  flock.run(20_000);
  assert.ok(third.core.identities(flock.now).some(({ service }) => service === 'later'));
  // A second restart finds what the first did.
  restartWith(third, () => {});
  flock.run(10_000);
  assert.deepEqual(errorsOf(third), ['epoch-state-broken']);
  assert.deepEqual(kept(third, 'epoch/'), disk);
  assert.deepEqual([...third.secrets.keys()], secrets);
  // It says so itself, and its seat is another's while it goes on as a host.
  flock.run(60_000);
  const { plan } = status(first).current;
  assert.ok(plan.epoch > before);
  assert.deepEqual([...plan.trustees].sort(), [first.id, second.id, fourth.id].sort());
});

test('a record that cannot be read costs a host no more: others tell it of the epochs', () => {
  const { flock, hosts } = ofFour();
  const [first, second, third] = hosts;
  const [record] = [...kept(third, 'epoch/record/').keys()].sort();
  restartWith(third, (store) => store.set(record!, Buffer.from('nonsense')));
  flock.run(90_000);
  assert.equal(status(third).current.hash, status(first).current.hash);
  assert.deepEqual(criticalSubjects(third), ['trustee state']);
  assert.ok(third.core.identities(flock.now).every(({ problem }) => problem === null));
  // What it does not know it does not claim: it has no seat in what the others decide, and no share.
  assert.deepEqual([status(third).isTrustee, status(third).share], [false, null]);
  assert.ok(status(second).isTrustee);
});

test('a trustee whose log has a gap signs nothing and shows no other log; certificates come from the others', () => {
  const { flock, hosts } = ofFour();
  const [first, , third] = hosts;
  for (let i = 0; i < 6; i++) first.register(`more-${i}`);
  flock.run(20_000);
  const entries = [...kept(third, 'issuer/log/').keys()].sort();
  assert.ok(entries.length >= 2, `${entries.length} entries`);
  restartWith(third, (store) => store.set(entries[0]!, Buffer.from('nonsense')));
  const disk = kept(third, 'issuer/log/');
  flock.run(30_000);
  assert.deepEqual(errorsOf(third), ['issuance-log-broken']);
  assert.deepEqual(criticalSubjects(third), ['issuance log']);
  for (let i = 0; i < 6; i++) third.register(`late-${i}`);
  flock.run(60_000);
  const services = third.core.identities(flock.now).map(({ service }) => service);
  for (let i = 0; i < 6; i++) assert.ok(services.includes(`late-${i}`), `late-${i}`);
  assert.deepEqual(kept(third, 'issuer/log/'), disk);
  assert.deepEqual(first.core.credentials!.alarms(), [], 'nobody takes it for a liar');
});

test('a founder alone with a damaged log starts, and refuses certificates instead of signing unrecorded', () => {
  const { flock, first } = Flock.founded(policy);
  first.register('web');
  flock.run(10_000);
  const [entry] = kept(first, 'issuer/log/').keys();
  restartWith(first, (store) => store.set(entry!, Buffer.from('nonsense')));
  first.register('shop');
  flock.run(20_000);
  assert.ok(criticalSubjects(first).includes('issuance log'));
  const identities = first.core.identities(flock.now);
  assert.ok(identities.find(({ service }) => service === 'web')!.notAfter > flock.now);
  const shop = identities.find(({ service }) => service === 'shop');
  assert.match(shop?.problem ?? '', /issuance log/);
});

test('an operator has a host begin another log in place of a damaged one, and nobody takes it for a second story', () => {
  const { flock, first } = Flock.founded(policy);
  const second = flock.join('second', first, flock.token(first));
  first.register('web');
  flock.run(10_000);
  logAt(second);
  assert.throws(
    () => first.command({ type: 'reset-log', operator }),
    (error: unknown) => error instanceof Fault && error.code === 'conflict',
  );
  const old = [...kept(first, 'issuer/log/').keys()].sort();
  restartWith(first, (store) => store.set(old[0]!, Buffer.from('nonsense')));
  first.register('shop');
  flock.run(20_000);
  assert.throws(
    () => first.command({ type: 'reset-log', operator: second.signer }),
    (error: unknown) => error instanceof Fault && error.code === 'not-operator',
  );
  first.ask({ type: 'reset-log', operator });
  flock.run(60_000);
  const shop = first.core.identities(flock.now).find(({ service }) => service === 'shop');
  assert.equal(shop?.problem, null);
  assert.deepEqual(criticalSubjects(first), []);
  const keys = [...kept(first, 'issuer/log/').keys()];
  assert.ok(keys.length >= 2 && keys.every((key) => !old.includes(key)));
  restartWith(first, () => {});
  flock.run(10_000);
  assert.deepEqual(errorsOf(first), []);
  flock.run(120_000);
  const log = logAt(second);
  assert.deepEqual([log.alarms, log.sources.map(({ problem }) => problem)], [[], [null]]);
  assert.ok(log.entries.some(({ subject }) => subject === 'issuance log begun anew'));
});
