/** What the mesh signed, read at any host, and what becomes of a trustee that tells two stories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaLog } from '../../../../src/agent/ca/ca-port.ts';
import { Ledger, type LedgerOptions } from '../../../../src/agent/ca/ledger.ts';
import { TrustFacts } from '../../../../src/agent/ca/trust-facts.ts';
import { open, seal } from '../../../../src/agent/envelope.ts';
import { TRUST_ACCUSATION, TRUST_HEAD, type TrustAccusationValue } from '../../../../src/agent/kinds.ts';
import { ed25519Verify, encodeJson, Fault, type Signer, seededRandom } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { digestOf, IssuanceLog, noDigest } from '../../../../src/trust/log/issuance-log.ts';
import { LogKeeper } from '../../../../src/trust/log/log-keeper.ts';
import {
  decodeEquivocation,
  encodeEquivocation,
  encodeHead,
  provesEquivocation,
} from '../../../../src/trust/log/transparency.ts';
import { Flock, type FlockHost, genesis, operator } from '../../../support/flock.ts';
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

/** Whoever asks `host` for its log is shown this one. */
function showInstead(host: FlockHost, liar: LogKeeper): void {
  const honest = host.step.bind(host);
  host.step = (input, now) => {
    const frame = 'type' in input && input.type === 'frame' ? open(input.bytes) : null;
    if (frame?.room !== 'logRequest' || !('from' in input)) honest(input, now);
    else host.flock.send(host, input.from, seal('logAnswer', liar.answer(input.from, frame.payload, now)));
  };
}

function deny(at: FlockHost, host: FlockHost): void {
  at.command({ type: 'deny', denied: { type: 'host', host: host.id }, reason: '', force: true, operator });
  at.flock.run(1000);
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

test('what a denied host asked for can be asked for, and trustees that are gone are named', () => {
  const { hosts } = mesh(4);
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  const before = logAt(first, 'host-2').entries;
  assert.ok(before.length > 0);
  deny(first, third);
  for (const name of ['host-2', third.id]) {
    const { entries } = logAt(first, name);
    assert.ok(
      entries.length >= before.length && entries.every(({ requester }) => requester === third.id),
      name,
    );
    for (const { requesterName } of entries) assert.equal(requesterName, 'host-2');
  }
  const problems = () => new Map(logAt(first).sources.map(({ name, problem }) => [name, problem]));
  assert.equal(problems().get('host-2'), 'denied');
  second.ask({ type: 'leave' });
  first.flock.run(20_000);
  assert.equal(problems().get('host-1'), 'left');
  assert.equal(problems().get('first'), null);
});

test('a log that is shorter than a head that its trustee told is named', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  for (const service of ['a', 'b', 'c']) first.register(service);
  flock.run(65_000);
  const [source] = logAt(second).sources;
  assert.deepEqual([source?.problem, source?.from], [null, 1]);
  const saved = [...first.store].filter(([key]) => key.includes('/log/')).slice(0, -1);
  const liar = new LogKeeper(genesis.hash, first.signer, new IssuanceLog(saved));
  showInstead(first, liar);
  const { sources, alarms } = logAt(second);
  assert.deepEqual([sources[0]?.problem, sources[0]?.entries], ['shorter-than-told', saved.length]);
  assert.deepEqual(alarms, []);
});

test('a head that is told while a log is being read is not held against the log', () => {
  const { flock, first } = Flock.founded();
  const trustee = signerOf('trustee');
  const log = new IssuanceLog();
  const keeper = new LogKeeper(genesis.hash, trustee, log);
  const sign = () =>
    log.confirm(
      log.append({
        ...{ at: flock.now, requester: first.id, subject: 'one', serial: '', notBefore: 0, notAfter: 0 },
        ...{ digest: noDigest, nonceId: '', commitments: noDigest },
      }).entry,
    );
  const facts = new TrustFacts();
  const trustees = [trustee.publicKey];
  const ledger = ledgerOf(first, facts, { trustees: () => trustees, trusteesEver: () => new Set(trustees) });
  const tell = (): void => {
    const head = Buffer.from(encodeHead(keeper.head(flock.now))).toString('base64');
    facts.toldOfHead(trustee.publicKey, { head });
    ledger.recordsApplied(flock.now);
  };
  sign();
  tell();
  const [asked] = ledger.ask(1, { type: 'read-ca-log', host: null }, flock.now);
  assert.ok(asked?.type === 'send');
  const answer = keeper.answer(first.id, open(asked.bytes).payload, flock.now);
  sign();
  tell();
  const [told] = ledger.answer(trustee.publicKey, answer, flock.now);
  assert.ok(told?.type === 'reply');
  assert.deepEqual(
    (told.value as CaLog).sources.map(({ sequence, problem }) => [sequence, problem]),
    [[1, null]],
  );
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
  showInstead(first, new LogKeeper(genesis.hash, first.signer, forged));
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
  second.kill();
  second.start();
  flock.run(1000);
  assert.equal(second.core.credentials?.alarms()[0]?.name, 'first', 'and so does whoever found out');
});

function hearAccusation(flock: Flock, at: FlockHost, by: FlockHost, key: string, value: Uint8Array): void {
  const slot = { scope: 'host', kind: TRUST_ACCUSATION, key } as const;
  const record = encodeRecord({ ...slot, version: 1, hlc: flock.now * 1024, value }, by.signer);
  at.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
}

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
    hearAccusation(flock, third, second, key, value);
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

/** Two heads of one sequence that one trustee signed, as the record that a host shows them in. */
function forkBy(signer: Signer, at: number): TrustAccusationValue {
  const [one, other] = ['one', 'other'].map((subject) => {
    const log = new IssuanceLog();
    const { entry } = log.append({
      ...{ at, requester: signer.publicKey, subject, serial: '', notBefore: 0, notAfter: 0 },
      ...{ digest: noDigest, nonceId: '', commitments: noDigest },
    });
    log.confirm(entry);
    return new LogKeeper(genesis.hash, signer, log).head(at);
  });
  const evidence = encodeEquivocation({ earlier: one!, later: other!, entries: [] });
  return { detail: '', evidence: Buffer.from(evidence).toString('base64'), at };
}

/** A ledger of one host that nothing but `facts` reaches. */
function ledgerOf(host: FlockHost, facts: TrustFacts, more: Partial<LedgerOptions> = {}): Ledger {
  return new Ledger({
    self: host.id,
    signer: host.signer,
    verify: ed25519Verify,
    random: seededRandom(1),
    trust: host.core.trust,
    catalog: host.core.catalog,
    facts,
    log: new IssuanceLog(),
    trustees: () => [],
    trusteesEver: () => new Set(),
    write: () => {},
    ...more,
  });
}

test('a host that accuses many takes no room from others, and each accusation is judged once', () => {
  const { flock, first } = Flock.founded();
  const trustees = Array.from({ length: 20 }, (_, i) => signerOf(`trustee ${i}`));
  const facts = new TrustFacts();
  const liar = signerOf('liar').publicKey;
  let verified = 0;
  const ledger = ledgerOf(first, facts, {
    trusteesEver: () => new Set(trustees.map(({ publicKey }) => publicKey)),
    verify: (...signed) => {
      verified++;
      return ed25519Verify(...signed);
    },
  });
  const junk = { ...forkBy(signerOf('somebody else'), flock.now), detail: 'junk' };
  for (const { publicKey } of trustees) facts.accused(liar, `fork/${publicKey}`, junk);
  for (let i = 0; i < 500; i++)
    facts.accused(liar, `fork/${signerOf(`nobody ${i}`).publicKey}`, { ...junk, at: flock.now + i });
  facts.accused(first.id, `fork/${trustees[19]!.publicKey}`, forkBy(trustees[19]!, flock.now));
  ledger.recordsApplied(flock.now);
  assert.deepEqual(
    ledger.alarms().map(({ id }) => id),
    [trustees[19]!.publicKey],
  );
  for (let i = 0; i < 20; i++)
    facts.accused(liar, `fork/${trustees[i]!.publicKey}`, { ...junk, at: 2 ** 40 });
  ledger.recordsApplied(flock.now);
  const before = verified;
  for (let i = 0; i < 10; i++) ledger.recordsApplied(flock.now);
  assert.equal(verified, before);
});

test('what was said of a trustee before it was known to be one is judged once it is', () => {
  const { flock, first } = Flock.founded();
  const trustee = signerOf('trustee');
  const facts = new TrustFacts();
  const ever = new Set<string>();
  const ledger = ledgerOf(first, facts, { trusteesEver: () => ever });
  const [one, other] = ['one', 'other'].map((label) => signerOf(label).publicKey) as [string, string];
  facts.accused(one, `fork/${trustee.publicKey}`, forkBy(trustee, flock.now));
  const twin = { detail: 'twice', evidence: '', at: flock.now };
  for (const by of [one, other]) facts.accused(by, `twin/${trustee.publicKey}`, twin);
  ledger.recordsApplied(flock.now);
  assert.deepEqual(ledger.alarms(), []);
  ever.add(trustee.publicKey);
  ledger.recordsApplied(flock.now);
  assert.deepEqual(
    ledger.alarms().map(({ detail }) => detail.split(' ')[0]),
    ['signed', 'runs'],
  );
  const day = 24 * 3_600_000;
  assert.equal(ledger.nextWake(), flock.now + day);
  ledger.wake(flock.now + day);
  assert.equal(ledger.alarms().length, 1, 'a word counts for a day');
});

test('a denied host accuses nobody any more', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 2 });
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  const value = encodeJson({ detail: 'twice', evidence: '', at: flock.now });
  const key = `twin/${first.id}`;
  hearAccusation(flock, third, second, key, value);
  assert.equal(third.core.credentials?.alarms().length, 1);
  deny(first, second);
  assert.deepEqual(third.core.credentials?.alarms(), []);
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
