import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seal } from '../../../src/agent/envelope.ts';
import { POLICY_RECEIPT, SERVICE } from '../../../src/agent/kinds.ts';
import { ed25519Signer, encodeJson, Fault, type Signer } from '../../../src/core.ts';
import { originCoordinate } from '../../../src/gossip/coordinates/coordinate.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { slotOf } from '../../../src/gossip/replica/record.ts';
import { encodeIssueReply } from '../../../src/trust/issuance/issuance.ts';
import { checkOf, definitionOf } from '../../support/agent.ts';
import { type Answer, Flock, operator, signerOf } from '../../support/flock.ts';

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code && !error.changed;

const registration = (name: string, more = {}) =>
  ({ type: 'register-service', definition: definitionOf({ name, ...more }) }) as const;

function faultOf(answer: Answer | undefined): Fault {
  assert.ok(answer !== undefined && 'fault' in answer);
  return answer.fault;
}

function intention(source: string, destination: string, action: 'allow' | 'deny', by = operator) {
  const entry = {
    Kind: 'service-intentions',
    Name: destination,
    Sources: [{ Name: source, Action: action }],
  };
  return {
    type: 'put-config-entry',
    kind: 'service-intentions',
    name: destination,
    entry,
    operator: by,
  } as const;
}

function operatorOf(seed: string): Signer {
  return ed25519Signer(Buffer.from(seed, 'hex'));
}

test('a founder alone is ready at once, with a configuration and its own records on disk', () => {
  const { first } = Flock.founded();
  assert.equal(first.core.isSynchronised(), true);
  assert.equal(first.configs.length, 1);
  const stored = [...first.store.keys()].map((key) => key.split('/').at(-2)).sort();
  assert.deepEqual(stored, ['admission', 'host', 'trust-ack']);
});

test('a registration is neither answered nor seen before it is durable', () => {
  const { first } = Flock.founded();
  first.disk = 'stalled';
  const request = first.ask(registration('web'));
  assert.equal(first.answers.has(request), false);
  assert.deepEqual(first.core.registry.services(), []);
  first.disk = 'working';
  first.flush();
  assert.deepEqual(first.answers.get(request), { value: null });
  assert.deepEqual(
    first.core.registry.services().map(({ id }) => id),
    ['web'],
  );
});

test('a registration that the disk refused was never made, and can be made later', () => {
  const { first } = Flock.founded();
  first.disk = 'failing';
  const definition = definitionOf({ name: 'web', checks: [checkOf({ id: 'alive' })] });
  const refused = first.ask({ type: 'register-service', definition });
  assert.equal(faultOf(first.answers.get(refused)).code, 'storage-failed');
  assert.deepEqual(first.core.catalog.serviceNames(), []);
  first.disk = 'working';
  first.command({ type: 'register-service', definition });
  assert.equal(first.statusOf('web'), 'critical');
});

test('a command that fails says why and changes nothing', () => {
  const { first } = Flock.founded();
  first.register('web', { checks: [checkOf({ id: 'alive' })] });
  const before = {
    index: first.core.catalog.index,
    root: first.core.gossip.replica.root(),
    size: first.store.size,
  };
  const refused = [
    [{ type: 'deregister-service', id: 'nobody' }, 'unknown-service'],
    [registration('api', { checks: [checkOf({ id: 'alive' })] }), 'duplicate-check-id'],
    [{ type: 'register-check', serviceId: 'nobody', check: checkOf({ id: 'x' }) }, 'unknown-service'],
    [{ type: 'report-ttl', checkId: 'none', status: 'passing', output: '' }, 'unknown-check'],
    [{ type: 'maintenance', serviceId: 'nobody', enable: true, reason: '' }, 'unknown-service'],
    [{ type: 'delete-config-entry', kind: 'service-defaults', name: 'x', operator }, 'unknown-config-entry'],
  ] as const;
  for (const [command, code] of refused) assert.throws(() => first.command(command), hasCode(code), code);
  assert.deepEqual(
    { index: first.core.catalog.index, root: first.core.gossip.replica.root(), size: first.store.size },
    before,
  );
});

test('policy is an operator’s to write, and nobody else’s', () => {
  const { first } = Flock.founded();
  const stranger = signerOf('stranger');
  assert.throws(() => first.command(intention('web', 'api', 'allow', stranger)), hasCode('not-operator'));
  assert.throws(
    () =>
      first.command({
        type: 'create-token',
        services: [],
        roles: [],
        uses: 1,
        ttlMs: 60_000,
        operator: stranger,
      }),
    hasCode('not-operator'),
  );
  assert.equal(first.core.policies.get('service-intentions', 'api'), undefined);
  first.command(intention('web', 'api', 'allow'));
  assert.equal(first.core.policies.get('service-intentions', 'api')?.author, operator.publicKey);
});

test('a token has a life and roles that make sense, and operators are made by the first of them', () => {
  const { flock, first } = Flock.founded();
  for (const ttlMs of [0, 999, 367 * 24 * 3_600_000, Number.NaN])
    assert.throws(() => flock.createToken(first, { ttlMs }), Fault, String(ttlMs));
  assert.throws(() => flock.createToken(first, { roles: ['king'] }), hasCode('unknown-role'));
  assert.throws(() => flock.createToken(first, { uses: 0 }), hasCode('grant-malformed'));
  const made = flock.createToken(first, { roles: ['operator'] });
  assert.match(made.operatorSeed ?? '', /^[0-9a-f]{64}$/);
  assert.equal(flock.createToken(first).operatorSeed, null);
  assert.notEqual(made.token, flock.createToken(first, { roles: ['operator'] }).token);
});

test('an operator made by a token writes policy, but makes no operators', () => {
  const { flock, first } = Flock.founded();
  const signer = operatorOf(flock.createToken(first, { roles: ['operator'] }).operatorSeed!);
  first.command(intention('web', 'api', 'allow', signer));
  assert.throws(
    () => flock.createToken(first, { roles: ['operator'], operator: signer }),
    hasCode('not-first-operator'),
  );
});

test('what an operator wrote stays in force after its grant expired, and it writes no more', () => {
  const { flock, first } = Flock.founded();
  const signer = operatorOf(flock.createToken(first, { roles: ['operator'], ttlMs: 60_000 }).operatorSeed!);
  first.command(intention('web', 'api', 'allow', signer));
  flock.run(61_000);
  // By the time the entry claims, the grant was in force.
  assert.notEqual(first.core.policies.get('service-intentions', 'api'), undefined);
  assert.throws(() => first.command(intention('web', 'db', 'allow', signer)), hasCode('not-operator'));
});

test('a stranger with a token is admitted, told the genesis, and becomes a member', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  assert.equal(first.core.catalog.hostNamed('second')?.state, 'alive');
  assert.equal(second.core.catalog.hostNamed('first')?.state, 'alive');
  assert.equal(second.core.gossip.replica.root(), first.core.gossip.replica.root());
});

test('the welcome waits until the admission is durable', () => {
  const { flock, first } = Flock.founded();
  const second = flock.add('second');
  const bytes = flock.joinRequest(second, flock.token(first));
  first.disk = 'stalled';
  assert.equal(flock.askToJoin(first, bytes), undefined);
  first.disk = 'working';
  first.flush();
  const [answer] = [...first.joinAnswers.values()];
  assert.equal(answer?.outcome, 'welcome');
});

test('a join request that is no admission, forged, for a taken name or a used token is refused with its code', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 1 });
  const second = flock.join('second', first, token);
  const refusalOf = (bytes: Uint8Array) => {
    const answer = flock.askToJoin(first, bytes);
    assert.equal(answer?.outcome, 'refused');
    return answer.outcome === 'refused' ? answer.code : null;
  };
  assert.equal(refusalOf(new Uint8Array(0)), 'malformed');
  assert.equal(refusalOf(new Uint8Array(500).fill(7)), 'unknown-format');
  const service = encodeRecord(
    { scope: 'host', kind: SERVICE, key: 'x', version: 1, hlc: flock.now * 1024, value: encodeJson({}) },
    second.signer,
  );
  assert.equal(refusalOf(service.bytes), 'malformed');
  const third = flock.add('third');
  const forged = Uint8Array.from(flock.joinRequest(third, token));
  forged[forged.length - 1]! ^= 1;
  assert.equal(refusalOf(forged), 'bad-signature');
  assert.equal(refusalOf(flock.joinRequest(third, token)), 'token-used-up');
  const twice = flock.token(first, { uses: 3 });
  flock.join('fourth', first, twice);
  const namesake = flock.add('second', signerOf('somebody else'));
  assert.equal(refusalOf(flock.joinRequest(namesake, twice)), 'name-taken');
  assert.equal(first.core.trust.isAdmitted(namesake.id), false);
});

test('who asks again with the same admission is welcomed again', () => {
  const { flock, first } = Flock.founded();
  const second = flock.add('second');
  const bytes = flock.joinRequest(second, flock.token(first));
  assert.equal(flock.askToJoin(first, bytes)?.outcome, 'welcome');
  assert.equal(flock.askToJoin(first, bytes)?.outcome, 'welcome');
});

test('a host may only run the services that its token names', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first, { services: ['api'] }));
  assert.throws(() => second.register('web'), hasCode('name-not-granted'));
  second.register('api');
  second.register('web', { inMesh: false });
});

test('a service on another host gets its certificate from the founder', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api');
  flock.run(2000);
  const [identity] = second.core.identities(flock.now);
  assert.equal(identity?.problem, null);
  assert.equal(identity?.spiffeId, 'spiffe://mesh.example/ns/default/dc/dc1/svc/api');
  assert.equal(second.identities.has('api'), true);
  assert.equal(first.identities.has('api'), false);
  assert.deepEqual(
    second.lastConfig.identities.map(({ service }) => service),
    ['api'],
  );
});

test('while the founder is away a service says what it waits for, and gets its certificate after', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  first.isCut = true;
  second.register('api');
  flock.run(2000);
  assert.match(second.core.identities(flock.now)[0]?.problem ?? '', /cannot be reached/);
  first.isCut = false;
  flock.run(70_000);
  assert.equal(second.core.identities(flock.now)[0]?.problem, null);
});

test('a certificate is refused by the issuer only, whoever else says so', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  first.disk = 'stalled';
  second.register('api');
  flock.run(100);
  const refusal = (requestId: number) =>
    seal(
      'issueReply',
      encodeIssueReply({ type: 'refused', requestId, code: 'no', message: 'never', retryAfterMs: 3_600_000 }),
    );
  for (let requestId = 0; requestId < 10; requestId++)
    second.feed({ type: 'frame', from: third.id, bytes: refusal(requestId) });
  const problem = () => second.core.identities(flock.now)[0]?.problem;
  assert.equal(problem(), 'waiting for the first certificate');
  first.disk = 'working';
  first.flush();
  assert.equal(problem(), null);
});

test('an intention reconfigures every proxy concerned within the delay, and only once', () => {
  const { flock, first } = Flock.founded();
  first.register('api');
  flock.run(2000);
  const rules = () => first.lastConfig.inbound.services[0]?.rules.map(({ action }) => action);
  assert.deepEqual(rules(), []);
  const before = first.configs.length;
  first.command(intention('web', 'api', 'allow'));
  assert.equal(first.configs.length, before);
  flock.run(10);
  assert.equal(first.configs.length, before + 1);
  assert.deepEqual(rules(), ['allow']);
  first.command(intention('web', 'api', 'allow'));
  flock.run(1000);
  assert.equal(first.configs.length, before + 1);
});

test('the proxy is told of hosts that are some way off, and again only when that has clearly changed', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.run(20_000);
  const moved = (id: string, placeMs: number, error = 0.1) => {
    const coordinate = { ...originCoordinate, vectorMs: [placeMs, 0, 0, 0, 0, 0, 0, 0], error };
    first.feed({ type: 'swim', report: { type: 'coordinate', id, coordinate } });
    flock.run(20_000);
    return first.lastConfig.roundTrips;
  };
  assert.deepEqual(moved(first.id, 0), []);
  assert.deepEqual(moved(second.id, 60, 0.6), [], 'it does not know yet where it is');
  assert.deepEqual(moved(second.id, 60), [{ host: second.id, ms: 64 }]);
  const before = first.configs.length;
  assert.deepEqual(moved(second.id, 70), [{ host: second.id, ms: 64 }]);
  assert.equal(first.configs.length, before);
  assert.deepEqual(moved(first.id, 69.5), []);
});

test('an intention written on one host is in force on the others', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api');
  first.command(intention('web', 'api', 'allow'));
  flock.run(1000);
  assert.deepEqual(
    second.lastConfig.inbound.services[0]?.rules.map(({ action }) => action),
    ['allow'],
  );
});

test('a status that came and went while the disk was busy is the last one in the end', () => {
  const { first } = Flock.founded();
  first.register('web', { checks: [checkOf({ id: 'alive' })] });
  const report = (status: 'passing' | 'critical') =>
    first.ask({ type: 'report-ttl', checkId: 'alive', status, output: '' });
  report('passing');
  assert.equal(first.statusOf('web'), 'passing');
  first.disk = 'stalled';
  report('critical');
  report('passing');
  first.flush();
  first.disk = 'working';
  first.flush();
  assert.equal(first.statusOf('web'), 'passing');
});

test('a check under a new name keeps its status, and one of a new type starts anew', () => {
  const { first } = Flock.founded();
  first.register('web', { checks: [checkOf({ id: 'alive' })] });
  first.command({ type: 'report-ttl', checkId: 'alive', status: 'passing', output: '' });
  first.register('web', { checks: [checkOf({ id: 'alive', name: 'still alive', notes: 'renamed' })] });
  assert.equal(first.statusOf('web'), 'passing');
  const tcp = { type: 'tcp', target: '127.0.0.1:1', ttlMs: 0, intervalMs: 1000, timeoutMs: 1000 } as const;
  first.register('web', { checks: [checkOf({ id: 'alive', ...tcp })] });
  assert.equal(first.statusOf('web'), 'critical');
  first.flock.run(1000);
  assert.deepEqual(
    first.checksRun.map(({ id }) => id),
    ['alive'],
  );
  first.feed({ type: 'check-result', checkId: 'alive', status: 'passing', output: '' });
  assert.equal(first.statusOf('web'), 'passing');
});

test('a service that stays critical for too long is deregistered, and the log says so', () => {
  const { flock, first } = Flock.founded();
  first.register('web', { checks: [checkOf({ id: 'alive', deregisterCriticalAfterMs: 60_000 })] });
  flock.run(61_000);
  assert.deepEqual(first.core.catalog.serviceNames(), []);
  assert.equal(
    first.logs.some(({ event }) => event === 'service-deregistered'),
    true,
  );
});

test('files that clash with what the API registered cost the clashing definition only', () => {
  const { first } = Flock.founded();
  first.register('web', { checks: [checkOf({ id: 'alive' })] });
  const source = 'file:/etc/services.json';
  first.feed({
    type: 'files',
    definitions: [
      definitionOf({ name: 'clash', source, checks: [checkOf({ id: 'alive' })] }),
      definitionOf({ name: 'fine', source }),
    ],
  });
  assert.deepEqual(first.core.catalog.serviceNames(), ['fine', 'web']);
  const refusal = first.logs.find(({ event }) => event === 'definition-refused');
  assert.equal(refusal?.fields.service, 'clash');
  first.feed({ type: 'files', definitions: [] });
  assert.deepEqual(first.core.catalog.serviceNames(), ['web']);
});

test('what does not fit into the host’s share of the mesh is refused, by the API and by files, without harm', () => {
  const { first } = Flock.founded();
  const large = definitionOf({
    name: 'large',
    meta: Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`key-${n}`, 'x'.repeat(512)])),
  });
  assert.throws(
    () => first.command({ type: 'register-service', definition: large }),
    hasCode('value-too-large'),
  );
  first.feed({ type: 'files', definitions: [{ ...large, source: 'file:/x' }] });
  assert.equal(
    first.logs.some(({ event }) => event === 'write-refused'),
    true,
  );
  assert.deepEqual(first.core.catalog.serviceNames(), []);
  first.register('web');
});

test('an agent whose share its users have filled still tells what policy it follows, and says goodbye', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  for (const size of [60, 6, 0]) {
    const meta = Object.fromEntries(Array.from({ length: size }, (_, n) => [`key-${n}`, 'x'.repeat(500)]));
    const fill = (): void => {
      for (let n = 0; ; n++) second.command(registration(`s${size}-${n}`, { meta }));
    };
    assert.throws(fill, hasCode('quota-exceeded'));
  }
  first.command(intention('web', 'api', 'allow'));
  flock.run(10_000);
  const said = first.core.gossip.replica.get(
    slotOf({ scope: 'host', author: second.id, kind: POLICY_RECEIPT, key: '' }),
  );
  assert.ok(said !== undefined, 'a receipt');
  second.ask({ type: 'leave' });
  flock.run(5000);
  assert.equal(first.core.catalog.host(second.id)?.state, 'left');
});

test('frames that are no frames, from anybody, change nothing', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const root = first.core.gossip.replica.root();
  for (let size = 0; size < 200; size++) {
    const bytes = Uint8Array.from({ length: size }, (_, n) => (n === 0 ? size % 5 : (n * size * 31) & 255));
    first.feed({ type: 'frame', from: second.id, bytes });
    first.feed({ type: 'delta', bytes });
  }
  assert.equal(first.core.gossip.replica.root(), root);
});

test('a value that is not of its kind’s shape counts as absent, is counted, and comes back when mended', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api');
  flock.run(500);
  assert.deepEqual(first.core.catalog.serviceNames(), ['api']);
  const write = (value: object, version: number) =>
    encodeRecord(
      {
        scope: 'host',
        kind: SERVICE,
        key: 'api',
        version: second.epoch * 2 ** 32 + version,
        hlc: flock.now * 1024,
        value: encodeJson(value),
      },
      second.signer,
    ).bytes;
  const offer = (bytes: Uint8Array) => {
    for (const effect of first.core.gossip.offer(bytes, flock.now).effects)
      if (effect.type === 'applied') first.core.knowledge.apply(effect.records);
  };
  offer(write({ id: 'api', name: 'Not A Name' }, 1000));
  assert.deepEqual(first.core.catalog.serviceNames(), []);
  assert.equal(first.core.malformedValues, 1);
  offer(write(definitionOf({ name: 'api' }), 1001));
  assert.deepEqual(first.core.catalog.serviceNames(), ['api']);
});
