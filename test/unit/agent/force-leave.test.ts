import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forcedDeparture } from '../../../src/agent/catalog/member-status.ts';
import { diagnose } from '../../../src/agent/diagnosis.ts';
import { ADMISSION, HOST, LIFECYCLE, shortId } from '../../../src/agent/kinds.ts';
import type { ForcedLeave } from '../../../src/agent/port.ts';
import { ed25519Signer, encodeJson, parseJson, type Signer } from '../../../src/core.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { departureKind } from '../../../src/gossip/replica/lifecycle.ts';
import { slotOf } from '../../../src/gossip/replica/record.ts';
import { defaultReplicaLimits } from '../../../src/gossip/replica/replica.ts';
import { encodeDelta } from '../../../src/gossip/spread/dissemination.ts';
import { Flock, type FlockHost, operator, signerOf } from '../../support/flock.ts';
import { well } from '../../support/shell-facts.ts';

function three(): { flock: Flock; first: FlockHost; second: FlockHost; third: FlockHost } {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  return { flock, first, second, third };
}

const stateAt = (host: FlockHost, of: FlockHost) => host.core.catalog.host(of.id)?.state;
const force = (at: FlockHost, host: FlockHost, by = operator) =>
  at.command({ type: 'force-leave', host: host.id, operator: by }) as ForcedLeave;

test('any agent takes the operator’s word that a dead host has left, and all follow', () => {
  const { flock, first, second, third } = three();
  third.kill();
  flock.run(20_000);
  assert.equal(stateAt(first, third), 'down');
  const answer = force(second, third);
  assert.deepEqual([answer.name, answer.changed], ['third', true]);
  flock.run(1000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['left', 'left']);
  assert.equal(force(first, third).changed, false);
  third.start();
  flock.run(10_000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
});

test('the word outlives the agents that heard it', () => {
  const { flock, first, second, third } = three();
  third.kill();
  flock.run(20_000);
  force(first, third);
  flock.run(1000);
  second.kill();
  second.start();
  flock.run(1000);
  assert.equal(stateAt(second, third), 'left');
});

test('where a host is and whether it left are of kinds that are kept beyond its day of grace', () => {
  for (const kind of [ADMISSION, HOST, LIFECYCLE]) {
    const lasting = defaultReplicaLimits.lastingKinds[kind];
    assert.ok(lasting !== undefined && 'down' in lasting && lasting.down === Number.POSITIVE_INFINITY, kind);
  }
});

test('a host that lives on is soon alive again for everybody, and has said so in writing', () => {
  const { flock, first, second, third } = three();
  const before = first.core.catalog.host(third.id)!.incarnation;
  force(first, third);
  flock.run(5000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
  const { incarnation } = first.core.catalog.host(third.id)!;
  assert.ok(incarnation > before);
  const said = first.core.gossip.replica.get(
    slotOf({ scope: 'host', author: third.id, kind: LIFECYCLE, key: '' }),
  );
  assert.deepEqual(parseJson(said!.value), { state: 'active', incarnation });
});

test('nobody but an operator can say it, and of strangers and of the agent itself it is not taken', () => {
  const { first, second, third } = three();
  assert.throws(() => force(first, third, signerOf('impostor')), { code: 'not-operator' });
  assert.throws(() => force(first, first), { code: 'conflict' });
  const unknown = { type: 'force-leave', host: 'e'.repeat(64), operator } as const;
  assert.throws(() => second.command(unknown), { code: 'unknown-host' });
});

function operatorOf(flock: Flock, first: FlockHost): { readonly signer: Signer; readonly grantId: string } {
  const { operatorSeed, id } = flock.createToken(first, { roles: ['operator'] });
  flock.run(1000);
  return { signer: ed25519Signer(Buffer.from(operatorSeed!, 'hex')), grantId: id };
}

const departureAt = (at: FlockHost, host: FlockHost) =>
  forcedDeparture(at.core.catalog.host(host.id)!, (slot) => at.core.gossip.replica.get(slot));
const findingsAt = (at: FlockHost) =>
  diagnose(at.core, well, at.flock.now).map(({ subject, detail }) => `${subject} ${detail}`);

test('who said it is known of every host that left by another’s word, and of no other', () => {
  const { flock, first, second, third } = three();
  third.kill();
  flock.run(20_000);
  const at = flock.now;
  force(second, third);
  flock.run(1000);
  for (const host of [first, second]) {
    assert.equal(departureAt(host, third)?.by, operator.publicKey);
    assert.ok(Math.abs(departureAt(host, third)!.at - at) < 1000);
    assert.equal(departureAt(host, host === first ? second : first), null);
  }
  third.start();
  flock.run(10_000);
  assert.equal(departureAt(first, third), null, 'it is back');
});

test('what an operator said stays in force when its token is revoked, and is pointed out', () => {
  const { flock, first, second, third } = three();
  const { signer, grantId } = operatorOf(flock, first);
  third.kill();
  flock.run(20_000);
  force(second, third, signer);
  flock.run(1000);
  assert.ok(findingsAt(first).every((text) => !text.includes('counts as left')));
  first.command({ type: 'revoke-token', id: grantId, operator });
  flock.run(1000);
  second.kill();
  second.start();
  flock.run(5000);
  for (const host of [first, second]) {
    assert.equal(stateAt(host, third), 'left');
    assert.ok(
      findingsAt(host).includes(
        `host third counts as left by the word of operator ${shortId(signer.publicKey)}, whose token was revoked since`,
      ),
    );
  }
  third.start();
  flock.run(10_000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
  assert.ok(findingsAt(first).every((text) => !text.includes('counts as left')));
});

test('a living host takes any number that an operator may write for its own, and goes on', () => {
  const { flock, first, second, third } = three();
  const write = (incarnation: number) => {
    const fields = first.core.gossip.nextPolicyFields(operator.publicKey, flock.now);
    const value = encodeJson({ incarnation });
    const record = encodeRecord(
      { scope: 'policy', kind: departureKind, key: third.id, value, ...fields },
      operator,
    );
    for (const host of [first, second, third])
      host.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
    flock.run(5000);
  };
  for (const incarnation of [2 ** 30, 2 ** 40]) {
    write(incarnation);
    assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive'], `${incarnation}`);
    assert.equal(first.core.catalog.host(third.id)!.incarnation, incarnation + 1);
  }
  write(2 ** 40 + 2);
  assert.equal(first.core.catalog.host(third.id)!.incarnation, 2 ** 40 + 1, 'no host ever gets that far');
  third.kill();
  third.start();
  flock.run(10_000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
});
