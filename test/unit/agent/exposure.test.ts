/** What becomes of a root when hosts that had shares of it are not to be trusted, and as time goes by. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { standardPolicy, type TrusteePolicy } from '../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../support/flock.ts';

/** A mesh of so many hosts that share the root. */
function sharing(
  count: number,
  policy: TrusteePolicy = standardPolicy,
): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(policy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first];
  for (let n = 1; n < count; n++) hosts.push(flock.join(`host-${n}`, first, token));
  for (const host of hosts) host.register(`on-${host.name}`);
  flock.run(130_000);
  for (const host of hosts) assert.equal(host.core.trust.bundle.active().generation, 1, host.name);
  return { flock, hosts };
}

function deny(at: FlockHost, host: FlockHost): void {
  const denied = { type: 'host', host: host.id } as const;
  at.command({ type: 'deny', denied, reason: '', force: false, operator });
}

const planAt = (host: FlockHost) => host.core.credentials!.epochStatus().current.plan;
const rootsOf = (host: FlockHost): string[] =>
  host.core.trust.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);

test('the root is replaced by itself when denied hosts may have all shares of it but one', () => {
  const { flock, hosts } = sharing(4);
  const [first, second, , fourth] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  assert.equal(planAt(first).trustees.includes(fourth.id), false);
  deny(first, fourth);
  flock.run(90_000);
  assert.equal(planAt(first).generation, 1, 'it never had one');
  deny(first, second);
  flock.run(1_000);
  assert.notEqual(first.core.credentials!.ca(flock.now).rotation, 'none');
  flock.run(180_000);
  for (const host of [first, hosts[2]!]) {
    assert.deepEqual(
      rootsOf(host),
      ['g0 retired', 'g1 retired', 'g2 active'],
      JSON.stringify(host.logs.slice(-3)),
    );
    assert.equal(planAt(host).trustees.includes(second.id), false);
  }
  const { epoch } = planAt(first);
  flock.run(300_000);
  assert.deepEqual([planAt(first).epoch, planAt(first).generation], [epoch, 2], 'once, and no more');
});

test('a host that gave its share up long ago counts when it is denied, for nobody saw it destroyed', () => {
  const { flock, hosts } = sharing(4);
  const [first, , third, fourth] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  third.kill();
  flock.run(15 * 60_000);
  assert.deepEqual([planAt(first).trustees.includes(fourth.id), planAt(first).generation], [true, 1]);
  assert.deepEqual(planAt(first).formers, [third.id]);
  deny(first, third);
  flock.run(180_000);
  assert.equal(first.core.trust.bundle.active().generation, 2);
  assert.deepEqual(planAt(first).formers, [], 'nobody has given up a share of the new one');
});

test('shares are made anew on a schedule, and the root stays', () => {
  const { flock, hosts } = sharing(3, { ...standardPolicy, refreshMs: 5 * 60_000 });
  const [first] = hosts as [FlockHost];
  const before = planAt(first);
  const shares = new Set(first.secrets.keys());
  flock.run(11 * 60_000);
  assert.equal(planAt(first).epoch, before.epoch + 2);
  assert.equal(planAt(first).generation, 1);
  for (const host of hosts) assert.equal(host.secrets.size, 1, 'and old ones are gone');
  assert.ok([...first.secrets.keys()].every((name) => !shares.has(name)));
});
