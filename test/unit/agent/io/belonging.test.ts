import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { belong as belongWith, foundingDone } from '../../../../src/agent/io/belonging.ts';
import { encodeJoinAnswer } from '../../../../src/agent/joining/joining.ts';
import { type AgentSettings, agentSettings, type RawOptions } from '../../../../src/agent/settings.ts';
import { Fault, type Millis } from '../../../../src/core.ts';
import { type JoinHandler, JoinServer } from '../../../../src/gossip/io/join.ts';
import { decodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { Flock, type FlockHost, founder, genesis, operator, startedAt } from '../../../support/flock.ts';

const loopback = '127.0.1.60';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'starling-belong-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function settle(dataDir: string, options: RawOptions) {
  return agentSettings([{ 'data-dir': dataDir, name: 'second', advertise: '10.0.0.2', ...options }], {
    hostName: 'x',
    isRoot: false,
    routeAddress: null,
    temporaryDirectory: () => '',
    readText: () => '',
  });
}

const now = () => startedAt;

/** As on a host that has heard of its mesh before. */
function belong(settings: AgentSettings, clock: () => Millis) {
  return belongWith(settings, clock, async () => true);
}

/** As on a host whose store was left empty. */
function belongUnheard(settings: AgentSettings, clock: () => Millis) {
  return belongWith(settings, clock, async () => false);
}

const fault =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

/** Nobody checks it when joining: it is for those who were away. */
const signature = 'cd'.repeat(64);

async function serve(t: TestContext, handle: JoinHandler): Promise<string> {
  const server = await JoinServer.bind(loopback, 0, { request: handle, introduction: () => {} });
  t.after(() => server.stop());
  return `${loopback}:${server.port}`;
}

/** A founder that answers join requests on a real socket, and a token of its mesh. */
async function sponsored(t: TestContext, uses = 10) {
  const { flock, first } = Flock.founded();
  const asked: Uint8Array[] = [];
  const address = await serve(t, (payload, reply) => {
    asked.push(payload);
    const exchange = asked.length;
    first.feed({ type: 'join-request', exchange, bytes: payload });
    const answer = first.joinAnswers.get(exchange);
    if (answer !== undefined) reply(encodeJoinAnswer(answer));
  });
  const { token } = flock.createToken(first, { uses });
  return { flock, first, address, token, asked, now: () => flock.now };
}

test('a founder makes a mesh, its keys and an operator token, all for its own eyes', async (t) => {
  const path = folder(t);
  const belonging = await belong(settle(path, { bootstrap: true, 'default-intention': 'allow' }), now);
  assert.equal(belonging.genesis.founder, belonging.hostKey.signer.publicKey);
  assert.equal(belonging.genesis.defaultIntention, 'allow');
  assert.deepEqual([belonging.admission, belonging.sponsor], [null, null]);
  assert.ok(belonging.rootSigner !== null && belonging.operatorTokenPath !== null);
  for (const name of readdirSync(path)) assert.equal(statSync(join(path, name)).mode & 0o077, 0, name);
});

test('a founder that starts again is the same, makes no second token and founds no second mesh', async (t) => {
  const path = folder(t);
  const founded = await belong(settle(path, { bootstrap: true }), now);
  await foundingDone(path);
  rmSync(founded.operatorTokenPath!);
  const resumed = await belong(settle(path, {}), now);
  assert.equal(resumed.genesis.hash, founded.genesis.hash);
  assert.equal(resumed.hostKey.signer.publicKey, founded.hostKey.signer.publicKey);
  assert.equal(resumed.rootSigner?.publicKey, founded.rootSigner?.publicKey);
  assert.equal(resumed.operatorTokenPath, null);
  assert.equal(readdirSync(path).includes('operator.token'), false);
  await assert.rejects(belong(settle(path, { bootstrap: true }), now), fault('already-belongs'));
});

test('a mesh that was never ready is founded once more as the same one, and its token is told again', async (t) => {
  const path = folder(t);
  const founded = await belong(settle(path, { bootstrap: true }), now);
  for (const options of [{ bootstrap: true }, {}, { bootstrap: true }]) {
    const again = await belong(settle(path, options), now);
    assert.equal(again.genesis.hash, founded.genesis.hash);
    assert.equal(again.operatorTokenPath, founded.operatorTokenPath);
    assert.equal(again.rootSigner?.publicKey, founded.rootSigner?.publicKey);
  }
  await foundingDone(path);
  await foundingDone(path);
  assert.equal((await belong(settle(path, {}), now)).operatorTokenPath, null);
  await assert.rejects(belong(settle(path, { bootstrap: true }), now), fault('already-belongs'));
});

test('what a mesh was begun with is not said otherwise when it is founded once more', async (t) => {
  const path = folder(t);
  await belong(settle(path, { bootstrap: true }), now);
  for (const [options, said] of [
    [{ name: 'third' }, /begun with --name second/],
    [{ domain: 'birds' }, /begun with --domain mesh/],
    [{ 'default-intention': 'allow' }, /begun with --default-intention deny/],
  ] as const)
    await assert.rejects(
      belong(settle(path, { bootstrap: true, ...options }), now),
      fault('already-belongs', said),
    );
});

test('a founding that died before its genesis was written does not open a mesh that is joined after it', async (t) => {
  const { address, token, now } = await sponsored(t);
  const path = folder(t);
  await belong(settle(path, { bootstrap: true }), now);
  rmSync(join(path, 'genesis'));
  await belong(settle(path, { join: address, token }), now);
  await assert.rejects(belong(settle(path, { bootstrap: true }), now), fault('already-belongs'));
});

test('a host keeps the name it was admitted under, whatever it is called later', async (t) => {
  const dataDir = folder(t);
  await belong(settle(dataDir, { bootstrap: true }), now);
  assert.equal((await belong(settle(dataDir, { name: 'renamed' }), now)).name, 'second');
});

test('a founder whose root key is gone starts without it, and says where it ought to be', async (t) => {
  const path = folder(t);
  assert.equal((await belong(settle(path, { bootstrap: true }), now)).missingRootKey, null);
  assert.equal((await belong(settle(path, {}), now)).missingRootKey, null);
  rmSync(join(path, 'root-g0.seed'));
  const resumed = await belong(settle(path, {}), now);
  assert.equal(resumed.rootSigner, null);
  assert.equal(resumed.missingRootKey, join(path, 'root-g0.seed'));
  assert.equal(readdirSync(path).includes('root-g0.seed'), false);
});

test('a crash while founding is made good by founding again with the same keys', async (t) => {
  const path = folder(t);
  const founded = await belong(settle(path, { bootstrap: true }), now);
  rmSync(join(path, 'genesis'));
  const again = await belong(settle(path, { bootstrap: true }), now);
  assert.equal(again.hostKey.signer.publicKey, founded.hostKey.signer.publicKey);
  assert.equal(again.genesis.operatorKey, founded.genesis.operatorKey);
});

test('a host without a mesh says what it needs to be told', async (t) => {
  const path = folder(t);
  await assert.rejects(belong(settle(path, {}), now), fault('no-mesh', /--bootstrap/));
  await assert.rejects(belong(settle(path, { join: '10.0.0.1' }), now), fault('token-missing'));
  assert.deepEqual(readdirSync(path), []);
});

test('a host joins over the network with a token, and afterwards belongs without one', async (t) => {
  const { first, address, token, now } = await sponsored(t);
  const path = folder(t);
  const joined = await belong(settle(path, { join: address, token }), now);
  assert.equal(joined.genesis.hash, genesis.hash);
  assert.equal(joined.sponsor?.id, first.id);
  assert.equal(joined.rootSigner, null);
  assert.equal(first.core.trust.isAdmitted(joined.hostKey.signer.publicKey), true);
  const resumed = await belong(settle(path, {}), now);
  assert.deepEqual(Buffer.from(resumed.admission!), Buffer.from(joined.admission!));
  assert.deepEqual(resumed.sponsor, joined.sponsor);
  await belong(settle(path, { token }), now);
  for (const name of readdirSync(path)) assert.equal(statSync(join(path, name)).mode & 0o077, 0, name);
});

test('a token lets in as many hosts as it has uses, each by one request, and nobody more', async (t) => {
  const { address, token, asked, now } = await sponsored(t, 2);
  const join = (name: string) => belong(settle(folder(t), { join: address, token, name }), now);
  const [one, two] = [await join('one'), await join('two')];
  assert.notEqual(one.hostKey.signer.publicKey, two.hostKey.signer.publicKey);
  // What was sent again is the same.
  assert.equal(new Set(asked.map((bytes) => Buffer.from(bytes).toString('hex'))).size, 2);
  await assert.rejects(join('three'), fault('join-refused', /token-used-up/));
});

test('a crash before the answer was kept is made good by asking again with the same key', async (t) => {
  const { address, token, now } = await sponsored(t, 1);
  const path = folder(t);
  const joined = await belong(settle(path, { join: address, token }), now);
  rmSync(join(path, 'genesis'));
  const again = await belong(settle(path, { join: address, token }), now);
  assert.equal(again.hostKey.signer.publicKey, joined.hostKey.signer.publicKey);
});

test('a refusal is the mesh’s answer, said in one line, and nothing is kept of it but the key', async (t) => {
  const { address, token, now } = await sponsored(t, 1);
  await belong(settle(folder(t), { join: address, token, name: 'one' }), now);
  const path = folder(t);
  await assert.rejects(
    belong(settle(path, { join: address, token, name: 'two' }), now),
    fault('join-refused', /token-used-up/),
  );
  assert.deepEqual(readdirSync(path), ['host.seed']);
});

test('a token of another mesh is refused by a directory that belongs to one', async (t) => {
  const { token } = await sponsored(t);
  const path = folder(t);
  await belong(settle(path, { bootstrap: true }), now);
  await assert.rejects(belong(settle(path, { token }), now), fault('foreign-mesh'));
});

test('an agent of another mesh that welcomes everybody convinces nobody', async (t) => {
  const { token, now } = await sponsored(t);
  const other = await belong(settle(folder(t), { bootstrap: true }), now);
  const impostor = await serve(t, (_payload, reply) => {
    reply(
      encodeJoinAnswer({
        outcome: 'welcome',
        sponsor: other.hostKey.signer.publicKey,
        genesis: other.genesis.bytes,
        signature,
      }),
    );
  });
  const path = folder(t);
  await assert.rejects(belong(settle(path, { join: impostor, token }), now), fault('foreign-mesh'));
  assert.equal(readdirSync(path).includes('genesis'), false);
});

test('an answer that is none, or holds no genesis, is a fault and not a crash', async (t) => {
  const { token, now } = await sponsored(t);
  const babbler = await serve(t, (_payload, reply) => void reply(new Uint8Array(40).fill(9)));
  await assert.rejects(belong(settle(folder(t), { join: babbler, token }), now), fault('bad-join-answer'));
  const forger = await serve(t, (_payload, reply) => {
    const genesis = new Uint8Array(9);
    reply(encodeJoinAnswer({ outcome: 'welcome', sponsor: 'ab'.repeat(32), genesis, signature }));
  });
  await assert.rejects(belong(settle(folder(t), { join: forger, token }), now), fault('genesis-malformed'));
});

test('files that were damaged, taken away or opened to others are named', async (t) => {
  const { address, token, now } = await sponsored(t);
  const path = folder(t);
  await belong(settle(path, { join: address, token }), now);
  const start = () => belong(settle(path, {}), now);
  const spoil = async (name: string, content: string | Uint8Array, code: string) => {
    const kept = readFileSync(join(path, name));
    writeFileSync(join(path, name), content);
    await assert.rejects(start(), fault(code, new RegExp(name.replace('.', '\\.'))), `${name}: ${content}`);
    writeFileSync(join(path, name), kept);
  };
  for (const content of ['', 'genesis', genesis.bytes.subarray(0, 100), genesis.bytes.with(90, 0)])
    await spoil('genesis', content, 'file-damaged');
  const sponsor = { id: 'ab'.repeat(32), address: '10.0.0.1', port: 7946 };
  for (const content of [
    '',
    '{',
    'null',
    '{}',
    JSON.stringify({ record: 5, sponsor }),
    JSON.stringify({ record: 'AA==' }),
    JSON.stringify({ record: 'AA==', sponsor: { ...sponsor, id: 'me' } }),
    JSON.stringify({ record: 'AA==', sponsor: { ...sponsor, port: 0 } }),
  ])
    await spoil('admission.json', content, 'file-damaged');
  await spoil('host.seed', 'short', 'secret-damaged');
  await start();
  chmodSync(join(path, 'host.seed'), 0o644);
  await assert.rejects(start(), fault('secret-exposed', /chmod 600/));
  rmSync(join(path, 'host.seed'));
  await assert.rejects(start(), fault('host-key-missing', /host\.seed/));
  assert.equal(readdirSync(path).includes('host.seed'), false);
});

test('a name that does not resolve, or an address where nobody answers, sends the joiner to the next', async (t) => {
  const { address, token, now } = await sponsored(t);
  const joined = await belong(settle(folder(t), { join: ['no-such-host.invalid', address], token }), now);
  assert.equal(joined.genesis.hash, genesis.hash);
  assert.deepEqual(
    joined.failures.map(({ code }) => code),
    ['join-unanswered'],
  );
  assert.match(joined.failures[0]?.message ?? '', /no-such-host\.invalid/);
});

/** A host that was let in by a sponsor which then vanished, and a second host of the mesh to ask instead. */
async function orphaned(t: TestContext) {
  const { flock, first } = Flock.founded();
  const sponsor = await serveFrom(t, first);
  const second = flock.join('other', first, flock.token(first));
  const { token } = flock.createToken(first, { ttlMs: 60_000 });
  const path = folder(t);
  const now = () => flock.now;
  const joined = await belong(settle(path, { join: sponsor.address, token }), now);
  await sponsor.stop();
  return { flock, first, second, token, path, now, joined };
}

/** Answers join requests for `host` on a socket. */
async function serveFrom(t: TestContext, host: FlockHost) {
  let asked = 0;
  const request: JoinHandler = (payload, reply) => {
    const exchange = 1000 + asked++;
    host.feed({ type: 'join-request', exchange, bytes: payload });
    const answer = host.joinAnswers.get(exchange);
    if (answer !== undefined) reply(encodeJoinAnswer(answer));
  };
  const server = await JoinServer.bind(loopback, 0, { request, introduction: () => {} });
  t.after(() => server.stop());
  return { address: `${loopback}:${server.port}`, stop: () => server.stop(), asked: () => asked };
}

// Who asks one that vanished gives up after eight seconds: they wait side by side.
describe('a host whose sponsor vanished', { concurrency: true }, () => {
  test('finds its mesh at another address, long after its token expired', async (t) => {
    const { flock, second, path, now, joined } = await orphaned(t);
    flock.run(120_000);
    const other = await serveFrom(t, second);
    const found = await belongUnheard(settle(path, { join: other.address }), now);
    assert.equal(found.sponsor?.id, second.id);
    assert.deepEqual(Buffer.from(found.admission!), Buffer.from(joined.admission!));
    assert.deepEqual(
      found.failures.map(({ code }) => code),
      ['join-unanswered'],
    );
    // From now on it is the new one that it goes to.
    const again = await belongUnheard(settle(path, { join: other.address }), now);
    assert.deepEqual(again.sponsor, found.sponsor);
    assert.deepEqual([again.failures, other.asked()], [[], 2]);
  });

  test('a host of whose admission nobody has heard is let in once more by its token', async (t) => {
    const { flock, first, path, joined } = await orphaned(t);
    const stranger = new Flock();
    const twin = stranger.add('first', founder);
    twin.start();
    stranger.now = flock.now + 600_000;
    const { token } = stranger.createToken(twin);
    const other = await serveFrom(t, twin);
    const clock = () => stranger.now;
    const kept = await belongUnheard(settle(path, { join: other.address }), clock);
    assert.equal(kept.sponsor?.id, first.id);
    assert.deepEqual(
      kept.failures.map(({ code }) => code),
      ['join-unanswered', 'join-refused'],
    );
    const found = await belongUnheard(settle(path, { join: other.address, token }), clock);
    assert.notDeepEqual(Buffer.from(found.admission!), Buffer.from(joined.admission!));
    assert.ok(decodeRecord(found.admission!).version > decodeRecord(joined.admission!).version);
    assert.equal(`${found.sponsor?.address}:${found.sponsor?.port}`, other.address);
    assert.equal(twin.core.trust.isAdmitted(found.hostKey.signer.publicKey), true);
  });

  test('a host that has heard of its mesh, or is told of nobody else, asks nobody to let it in', async (t) => {
    const { second, path, now, joined } = await orphaned(t);
    const other = await serveFrom(t, second);
    assert.deepEqual((await belong(settle(path, {}), now)).sponsor, joined.sponsor);
    const alone = await belongUnheard(settle(path, {}), now);
    assert.deepEqual([alone.sponsor, alone.failures, other.asked()], [joined.sponsor, [], 0]);
  });

  test('an agent of another mesh does not become the sponsor of a host that looks for its own', async (t) => {
    const { path, now, joined } = await orphaned(t);
    const foreign = await belong(settle(folder(t), { bootstrap: true }), now);
    const impostor = await serve(t, (_payload, reply) => {
      const sponsor = foreign.hostKey.signer.publicKey;
      const genesis = foreign.genesis.bytes;
      reply(encodeJoinAnswer({ outcome: 'welcome', sponsor, genesis, signature }));
    });
    const kept = await belongUnheard(settle(path, { join: impostor }), now);
    assert.deepEqual(kept.sponsor, joined.sponsor);
    assert.deepEqual(
      kept.failures.map(({ code }) => code),
      ['join-unanswered', 'foreign-mesh'],
    );
  });
});

/** A host that has joined and was denied since, and the record that says so. */
async function outcast(t: TestContext) {
  const mesh = await sponsored(t);
  const { flock, first, address, token, now } = mesh;
  const path = folder(t);
  const { hostKey } = await belong(settle(path, { join: address, token }), now);
  const host = hostKey.signer.publicKey;
  const denied = { type: 'host', host } as const;
  first.command({ type: 'deny', denied, reason: 'stolen', force: false, operator });
  const denial = first.core.gossip.replica.get(`policy/deny/host/${host}`)!.bytes;
  return { ...mesh, path, denial, newToken: flock.createToken(first).token };
}

test('a denied host that starts again and is told where its mesh is gets the denial, whatever token it has', async (t) => {
  const { path, address, newToken, denial, now } = await outcast(t);
  for (const options of [{ join: address }, { join: address, token: newToken }]) {
    const belonging = await belong(settle(path, options), now);
    assert.deepEqual(Buffer.from((await belonging.denial)!), Buffer.from(denial));
  }
  assert.equal(await (await belong(settle(path, {}), now)).denial, null, 'nobody is asked');
});

test('a denied host that has heard nothing of its mesh is refused, and told what is left to it', async (t) => {
  const { path, address, newToken, now } = await outcast(t);
  const told = fault('host-denied', /operator denied this host.*empty its data directory.*new token/);
  await assert.rejects(belongUnheard(settle(path, { join: address, token: newToken }), now), told);
  rmSync(join(path, 'genesis'));
  await assert.rejects(belong(settle(path, { join: address, token: newToken }), now), told);
});

test('nobody keeps a host from starting by its word alone, or by silence', async (t) => {
  const { token, address, now } = await sponsored(t);
  const path = folder(t);
  await belong(settle(path, { join: address, token }), now);
  const asked = async (where: string) => (await belong(settle(path, { join: where }), now)).denial;
  const liar = await serve(t, (_payload, reply) => {
    reply(encodeJoinAnswer({ outcome: 'refused', code: 'denied', message: 'go away' }));
  });
  const silent = await serve(t, () => {});
  for (const where of [address, liar, silent, 'no-such-host.invalid']) assert.equal(await asked(where), null);
});
