/** What the mesh signed, read at any host, and what becomes of a trustee that tells two stories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaLog } from '../../../../src/agent/ca/ca-port.ts';
import { Ledger } from '../../../../src/agent/ca/ledger.ts';
import { TrustFacts } from '../../../../src/agent/ca/trust-facts.ts';
import { open, seal } from '../../../../src/agent/envelope.ts';
import { TRUST_ACCUSATION, TRUST_HEAD } from '../../../../src/agent/kinds.ts';
import { ed25519Verify, encodeJson, Fault, type Signer, seededRandom } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { digestOf, IssuanceLog, noDigest } from '../../../../src/trust/log/issuance-log.ts';
import { LogKeeper } from '../../../../src/trust/log/log-keeper.ts';
import {
  decodeEquivocation,
  encodeHead,
  provesEquivocation,
} from '../../../../src/trust/log/transparency.ts';
import { Flock, type FlockHost, genesis } from '../../../support/flock.ts';
import { signerOf } from '../../trust/mesh.ts';

function mesh(count: number): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first];
  for (let n = 1; n < count; n++) hosts.push(flock.join(`host-${n}`, first, token));
  for (const host of hosts) host.register(`on-${host.name}`);
  flock.run(130_000);
  return { flock, hosts };
}

function logAt(host: FlockHost, requester: string | null = null): CaLog {
  const request = host.ask({ type: 'read-ca-log', host: requester });
  host.flock.run(20_000);
  const answer = host.answers.get(request);
  assert.ok(answer !== undefined && 'value' in answer, JSON.stringify(answer));
  return answer.value as CaLog;
}

test('every host reads one and the same log of all that was signed, with the witnesses of each signature', () => {
  const { hosts } = mesh(3);
  const [first, second] = hosts as [FlockHost, FlockHost, FlockHost];
  const log = logAt(second);
  assert.deepEqual(log.sources.map(({ name, problem }) => [name, problem]).sort(), [
    ['first', null],
    ['host-1', null],
    ['host-2', null],
  ]);
  const shape = ({ entries }: CaLog) =>
    entries.map(({ digest, subject, witnesses }) => `${digest} ${subject} ${[...witnesses].sort()}`).sort();
  assert.deepEqual(shape(logAt(first)), shape(log));
  const leaves = log.entries.filter(({ subject }) => subject.startsWith('spiffe://'));
  for (const { name } of hosts)
    assert.ok(
      leaves.some(({ requesterName }) => requesterName === name),
      name,
    );
  // Of the founder's root the founder alone signed; of the shared root two of three.
  for (const { witnesses } of leaves) assert.ok(witnesses.length === 2 || witnesses[0] === 'first');
  assert.ok(log.entries.some(({ subject }) => subject === 'root g1 active'));
  assert.deepEqual(log.alarms, []);
});

test('a log is cut to what one host asked for, and a host that nobody knows is said to be unknown', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  first.register('web');
  second.register('api');
  flock.run(1000);
  for (const name of ['second', second.id]) {
    const { entries } = logAt(first, name);
    assert.deepEqual(
      entries.map(({ subject, requesterName }) => [subject.split('/').at(-1), requesterName]),
      [['api', 'second']],
    );
  }
  assert.throws(
    () => first.command({ type: 'read-ca-log', host: 'nobody' }),
    (error: unknown) => error instanceof Fault && error.code === 'unknown-host',
  );
});

test('a trustee that is away is named, and the others’ logs have what it witnessed with them', () => {
  const { flock, hosts } = mesh(3);
  hosts[2]?.kill();
  flock.run(1000);
  const log = logAt(hosts[0]!);
  assert.equal(log.sources.find(({ name }) => name === 'host-2')?.problem, 'unreachable');
  assert.ok(log.entries.some(({ requesterName }) => requesterName === 'host-2'));
});

test('the head of a log that grew is told to all, once a minute at most', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const versionOf = () =>
    [...second.core.gossip.replica.ofAuthor(first.id)].find(({ kind }) => kind === TRUST_HEAD)?.version ?? 0;
  first.register('web');
  flock.run(1000);
  const told = versionOf();
  assert.ok(told > 0);
  for (let i = 0; i < 20; i++) {
    first.register(`more-${i}`);
    flock.run(1000);
  }
  assert.equal(versionOf(), told);
  flock.run(60_000);
  const again = versionOf();
  assert.ok(again > told);
  flock.run(180_000);
  assert.equal(versionOf(), again, 'a log that does not grow is not told of');
});

test('a trustee that shows one host another log than it told all is found out, and proven so to all', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 2 });
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  for (const service of ['a', 'b', 'c']) first.register(service);
  flock.run(2000);
  const forged = new IssuanceLog();
  for (let i = 0; i < 5; i++)
    forged.confirm(
      forged.append({
        at: flock.now,
        requester: first.id,
        subject: `other ${i}`,
        serial: '',
        notBefore: 0,
        notAfter: 0,
        digest: digestOf(Buffer.from(`${i}`)),
        nonceId: '',
        commitments: noDigest,
      }).entry,
    );
  const liar = new LogKeeper(genesis.hash, first.signer, forged);
  const honest = first.step.bind(first);
  first.step = (input, now) => {
    const frame = 'type' in input && input.type === 'frame' ? open(input.bytes) : null;
    if (frame?.room !== 'logRequest' || !('from' in input)) honest(input, now);
    else flock.send(first, input.from, seal('logAnswer', liar.answer(input.from, frame.payload, now)));
  };
  const [alarm] = logAt(second).alarms;
  assert.equal(alarm?.name, 'first');
  const evidence = decodeEquivocation(Buffer.from(alarm?.evidence ?? '', 'hex'));
  assert.ok(provesEquivocation(genesis.hash, evidence, ed25519Verify));
  assert.ok(second.logs.some(({ event }) => event === 'log-equivocation'));
  // Whoever saw nothing of it believes the evidence, now and after a restart.
  flock.run(10_000);
  assert.equal(third.core.credentials?.alarms()[0]?.evidence, alarm?.evidence);
  assert.ok(third.logs.some(({ event }) => event === 'log-equivocation'));
  third.kill();
  third.start();
  flock.run(1000);
  assert.equal(third.core.credentials?.alarms()[0]?.name, 'first');
});

test('a host’s word that a trustee runs twice is told as its word, and what proves nothing convicts nobody', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 2 });
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  const day = 24 * 3_600_000;
  const accuse = (key: string, evidence = ''): void => {
    const value = encodeJson({
      detail: 'it promised the same nonces twice',
      evidence,
      at: flock.now - day + 60_000,
    });
    const record = {
      scope: 'host',
      kind: TRUST_ACCUSATION,
      key,
      version: 1,
      hlc: flock.now * 1024,
      value,
    } as const;
    third.feed({ type: 'delta', bytes: encodeDelta([encodeRecord(record, second.signer).bytes]) });
  };
  const alarms = () => third.core.credentials!.alarms().map(({ name, detail }) => `${name} ${detail}`);
  accuse(`twin/${third.id}`);
  accuse(`fork/${first.id}`, 'AAAA');
  assert.deepEqual(alarms(), []);
  accuse(`twin/${first.id}`);
  assert.deepEqual(alarms(), ['first runs twice, as second saw: it promised the same nonces twice']);
  flock.run(60_000);
  logAt(third);
  assert.deepEqual(alarms(), [], 'for a day');
});

test('two heads of one sequence in the gossip are found out by whoever sees both', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  first.register('a');
  flock.run(2000);
  const held = [...second.core.gossip.replica.ofAuthor(first.id)].find(({ kind }) => kind === TRUST_HEAD);
  assert.ok(held !== undefined);
  const forged = new IssuanceLog();
  const content = {
    at: flock.now,
    requester: first.id,
    subject: 'other',
    serial: '',
    notBefore: 0,
    notAfter: 0,
  };
  const { sequence } = first.core.credentials!.log.durableHead!;
  for (let i = 0; i < sequence; i++)
    forged.confirm(forged.append({ ...content, digest: noDigest, nonceId: '', commitments: noDigest }).entry);
  const head = new LogKeeper(genesis.hash, first.signer, forged).head(flock.now);
  const value = encodeJson({ head: Buffer.from(encodeHead(head)).toString('base64') });
  const record = encodeRecord(
    { scope: 'host', kind: TRUST_HEAD, key: '', version: held.version + 1, hlc: held.hlc + 1, value },
    first.signer,
  );
  second.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
  assert.equal(second.core.credentials?.alarms().length, 1);
});

test('what the disk refused for a while leaves no gap in the log that it keeps', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('a');
  flock.run(1000);
  first.disk = 'failing';
  second.register('b');
  flock.run(3000);
  assert.equal(second.identities.has('b'), false, 'nothing leaves that is not on disk');
  first.disk = 'working';
  flock.run(30_000);
  assert.ok(second.identities.has('b'));
  first.kill();
  first.start();
  flock.run(5000);
  assert.equal(
    first.logs.some(({ level }) => level === 'error'),
    false,
  );
  const [source] = logAt(second).sources.filter(({ name }) => name === 'first');
  assert.equal(source?.problem, null);
  assert.ok(source.entries >= 3);
});

test('a host that never was a trustee has no log to follow, whatever head it tells of', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const head = new LogKeeper(genesis.hash, second.signer, new IssuanceLog()).head(flock.now);
  const write = {
    kind: TRUST_HEAD,
    key: '',
    value: { head: Buffer.from(encodeHead(head)).toString('base64') },
  };
  const record = encodeRecord(
    { scope: 'host', ...write, version: 1, hlc: flock.now * 1024, value: encodeJson(write.value) },
    second.signer,
  );
  first.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
  assert.ok([...first.core.gossip.replica.ofAuthor(second.id)].some(({ kind }) => kind === TRUST_HEAD));
  second.kill();
  flock.run(1000);
  assert.deepEqual(
    logAt(first).sources.map(({ name }) => name),
    ['first'],
  );
});

test('whoever reads the logs of more trustees than can be followed is told so', () => {
  const { flock, first } = Flock.founded();
  const { trust, catalog } = first.core;
  const others = Array.from({ length: 257 }, (_, i) => signerOf(`trustee ${i}`));
  const facts = new TrustFacts();
  const last = others.at(-1)!;
  const ledger = new Ledger({
    self: first.id,
    signer: first.signer,
    verify: ed25519Verify,
    random: seededRandom(1),
    trust,
    catalog,
    facts,
    log: new IssuanceLog(),
    trustees: () => [last.publicKey],
    trusteesEver: () => new Set(others.map(({ publicKey }) => publicKey)),
    write: () => {},
  });
  const keeperOf = (signer: Signer) => new LogKeeper(genesis.hash, signer, new IssuanceLog());
  for (const signer of others.slice(0, -1)) {
    const head = encodeHead(keeperOf(signer).head(flock.now));
    facts.toldOfHead(signer.publicKey, { head: Buffer.from(head).toString('base64') });
  }
  assert.deepEqual(ledger.recordsApplied(flock.now), []);
  const [asked] = ledger.ask(7, { type: 'read-ca-log', host: null }, flock.now);
  assert.ok(asked?.type === 'send' && asked.to === last.publicKey);
  const answer = keeperOf(last).answer(first.id, open(asked.bytes).payload, flock.now);
  const [told] = ledger.answer(last.publicKey, answer, flock.now);
  assert.ok(told?.type === 'fail' && told.request === 7 && told.fault.code === 'too-many-logs');
});
