import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { ed25519Verify, type HostId, seededRandom } from '../../../../src/core.ts';
import { createDenial } from '../../../../src/trust/admission/denial.ts';
import { decodeIssueReply, type IssueRequest } from '../../../../src/trust/issuance/issuance.ts';
import { SvidKeeper } from '../../../../src/trust/issuance/svid.ts';
import { digestOf, encodeEntry } from '../../../../src/trust/log/issuance-log.ts';
import { leafReply, leafTask } from '../../../../src/trust/quorum/leaf.ts';
import { encodeQuorumMessage, type QuorumMessage } from '../../../../src/trust/quorum/message.ts';
import { encodePurpose, leafTag } from '../../../../src/trust/quorum/purpose.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import {
  bitString,
  booleanTrue,
  context,
  embed,
  encode,
  objectIdentifier,
  octetString,
  sequence,
  set,
  unsignedInteger,
} from '../../../../src/trust/x509/der.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { oids, subjectAltName } from '../../../../src/trust/x509/x509.ts';
import {
  admissionStatement,
  founder,
  genesis,
  grantStatement,
  hour,
  makeGrant,
  p256,
  signerOf,
  startedAt,
  trustDomain,
} from '../mesh.ts';
import { Court, sharedState, type Tamper } from './court.ts';
import {
  ask,
  asksAt,
  courtOf,
  csrOf,
  frame,
  host,
  identityOf,
  isSigned,
  key,
  refusalOf,
  withHost,
} from './leaves.ts';

for (const [threshold, count] of [
  [1, 1],
  [2, 3],
  [3, 5],
  [4, 7],
] as const)
  test(`${threshold} of ${count} trustees issue a certificate that the keeper takes`, () => {
    const { court, state } = courtOf(threshold, count);
    const keeper = new SvidKeeper({
      trustDomain,
      datacenter: 'dc1',
      bundle: state.bundle,
      isDenied: () => false,
      verify: ed25519Verify,
      random: seededRandom(1),
      ttlMs: hour,
      renewalSpreadMs: () => 60_000,
    });
    keeper.step({ type: 'services', services: ['api'] }, court.now);
    const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    const [request] = keeper.step({ type: 'key-made', service: 'api', csr: csrOf('api'), keyPem }, court.now);
    assert.ok(request?.type === 'request');
    const task = leafTask(request.bytes, state.bundle, host.publicKey);
    court.sign('leaf', task.purpose, task.message);
    court.deliver();
    const signature = court.outcome('leaf');
    assert.ok(typeof signature !== 'string');
    const reply = leafReply(task, signature, state.bundle);
    const [identity] = keeper.step({ type: 'reply', bytes: reply }, court.now);
    assert.ok(identity?.type === 'identity');
    const decoded = decodeIssueReply(reply);
    assert.ok(decoded.type === 'issued');
    const chain = decoded.chain.map((der) => new X509Certificate(der));
    assert.equal(chain.length, threshold === 1 ? 1 : 2);
    const anchor = new X509Certificate(genesis.root.der);
    for (const [i, certificate] of chain.entries())
      assert.ok(
        certificate.verify((chain[i + 1] ?? anchor).publicKey),
        'the chain leads to the genesis root',
      );
    const logged = [...court.trustees.values()].filter((bench) => bench.log.head !== undefined);
    assert.equal(logged.length, threshold);
    for (const { log } of logged) {
      assert.equal(log.durableHead?.subject, formatSpiffeId(identityOf('api')));
      assert.equal(log.durableHead.digest, digestOf(task.message));
    }
  });

test('trustees sign what they rebuild, whatever a coordinator would rather have signed', () => {
  const { court, state } = courtOf(2, 3);
  const honest = leafTask(frame(), state.bundle, host.publicKey);
  const swapped = Buffer.from(honest.message);
  swapped[swapped.length - 1]! ^= 1;
  court.sign('swapped', honest.purpose, swapped);
  court.finish();
  assert.equal(court.outcome('swapped'), 'quorum-lost');
  for (const { log } of court.trustees.values())
    for (const entry of log.latest(10)) assert.equal(entry.digest, digestOf(honest.message));
});

test('nobody gets a certificate that names another host, behind which it could hide from a denial', () => {
  const { court, state } = courtOf(2, 3);
  const hidden = leafTask(frame(), state.bundle, founder.publicKey);
  court.sign('hidden', hidden.purpose, hidden.message);
  court.finish();
  assert.equal(court.outcome('hidden'), 'quorum-lost');
  const own = leafTask(frame(), state.bundle, host.publicKey);
  for (const { log } of court.trustees.values())
    for (const entry of log.latest(10)) assert.equal(entry.digest, digestOf(own.message));
});

test('a denied host gets no certificate, though it was one round away from it', () => {
  const { court, state } = courtOf(2, 3);
  const denied = { type: 'host', host: host.publicKey } as const;
  const denial = { ...createDenial(denied, '', court.now), by: founder.publicKey };
  court.tamper = (message) => {
    state.denials.apply(denial);
    return [message];
  };
  ask(court, state);
  court.finish();
  assert.equal(court.outcome('api'), 'denied');
  for (const { log } of court.trustees.values()) assert.deepEqual(log.latest(10), []);
});

test('nonces promised for one purpose sign no other', () => {
  const { court, state } = courtOf(2, 3);
  const other = encodePurpose(leafTag, frame({ ttlMs: 2 * hour }));
  court.tamper = (message) => (message.type === 'contribute' ? [{ ...message, purpose: other }] : [message]);
  ask(court, state);
  court.finish();
  assert.equal(court.outcome('api'), 'nonce-unknown');
  for (const bench of court.trustees.values()) assert.deepEqual([...bench.disk], []);
});

/** A request that its key signed, but of a form that `createCsr` would not make. */
function oddCsr(oddKey: KeyObject, spki: Uint8Array, extensions: ReturnType<typeof sequence>): Buffer {
  const info = sequence(
    unsignedInteger(Buffer.of(0)),
    sequence(),
    embed(spki),
    context(0, [sequence(objectIdentifier('1.2.840.113549.1.9.14'), set(extensions))]),
  );
  const signature = sign('sha256', encode(info), oddKey);
  return encode(sequence(info, sequence(objectIdentifier('1.2.840.10045.4.3.2')), bitString(signature)));
}

test('what a certificate must not say is refused by every trustee, before anything is promised or written', () => {
  const { court } = courtOf(2, 3);
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const id = formatSpiffeId(identityOf('api'));
  const names = (...list: Parameters<typeof subjectAltName>) =>
    sequence(objectIdentifier(oids.subjectAltName), octetString(encode(subjectAltName(...list))));
  const code = (csr: Uint8Array): string => refusalOf(court, encodePurpose(leafTag, frame({ csr })));

  const twoUris = sequence(
    objectIdentifier(oids.subjectAltName),
    octetString(encode(sequence(context(6, Buffer.from(id)), context(6, Buffer.from(id))))),
  );
  assert.equal(code(oddCsr(key, spki, sequence(twoUris))), 'csr-names');
  const authority = sequence(
    objectIdentifier(oids.basicConstraints),
    octetString(encode(sequence(booleanTrue()))),
  );
  const good = names(id, dnsNamesOf(identityOf('api')));
  assert.equal(code(oddCsr(key, spki, sequence(good, authority))), 'csr-extension');
  assert.equal(code(createCsr(key, id, [...dnsNamesOf(identityOf('api')), 'bank.example'])), 'csr-names');
  assert.equal(code(oddCsr(p256(), spki, sequence(good))), 'csr-signature');
  assert.equal(code(csrOf('web')), 'name-not-granted');
  assert.equal(code(Buffer.from('nonsense')), 'csr-malformed');
});

test('strangers, other purposes, clocks, roots and epochs are refused with a code on which all agree', () => {
  const { court } = courtOf(2, 3);
  const code = (parts: Partial<IssueRequest>): string =>
    refusalOf(court, encodePurpose(leafTag, frame(parts)));
  assert.equal(code({ issuedAt: asksAt + 300_000 }), 'clock-skew');
  assert.equal(code({ generation: 0 }), 'wrong-root');
  assert.equal(code({ generation: 2 }), 'wrong-root');
  assert.equal(code({ ttlMs: 1 }), 'bad-ttl');
  assert.equal(refusalOf(court, encodePurpose(9, frame())), 'unknown-purpose');
  assert.equal(refusalOf(court, new Uint8Array()), 'unknown-purpose');
  assert.equal(refusalOf(court, encodePurpose(leafTag, Buffer.from('nonsense'))), 'malformed-request');
  court.tamper = (message) => (message.type === 'ask' ? [{ ...message, epoch: 4 }] : [message]);
  assert.equal(code({}), 'epoch-unknown');
  const stranger = courtOf(2, 3, signerOf('stranger'));
  assert.equal(refusalOf(stranger.court, encodePurpose(leafTag, frame())), 'not-admitted');
});

test('a trustee that has lost contact to the others signs nothing', () => {
  const { court } = courtOf(3, 5);
  court.heard = 1;
  assert.equal(refusalOf(court, encodePurpose(leafTag, frame())), 'isolated');
  court.heard = 2;
  const { state } = courtOf(3, 5);
  const task = ask(court, state);
  court.deliver();
  assert.ok(isSigned(court, 'api', task.message));
});

test('what was signed once is not signed again when the messages are replayed, by whomever', () => {
  const { court, state } = courtOf(2, 3);
  const task = ask(court, state);
  court.deliver();
  assert.ok(isSigned(court, 'api', task.message));
  const spoken = [...court.said];
  const disks = [...court.trustees.values()].map((bench) => [...bench.disk]);
  const shares = (): number => court.said.filter(({ message }) => message.type === 'share').length;
  const before = shares();
  for (const { to, message } of spoken)
    if (message.type === 'contribute')
      for (const from of [host.publicKey, founder.publicKey])
        court.post(from, to, encodeQuorumMessage(message));
  court.deliver();
  assert.equal(shares(), before);
  assert.deepEqual(
    [...court.trustees.values()].map((bench) => [...bench.disk]),
    disks,
  );
});

test('nonces promised to one host are of no use to another', () => {
  const { court, state } = courtOf(2, 3);
  const stolen: { to: HostId; message: QuorumMessage }[] = [];
  court.tamper = (message, _from, to) => {
    if (message.type !== 'contribute') return [message];
    stolen.push({ to, message });
    return [];
  };
  ask(court, state);
  court.deliver();
  court.tamper = (message) => [message];
  for (const { to, message } of stolen) court.post(founder.publicKey, to, encodeQuorumMessage(message));
  court.deliver();
  const refused = court.said.filter(({ to }) => to === founder.publicKey).map(({ message }) => message);
  assert.deepEqual(
    refused.map((message) => message.type === 'refused' && message.code),
    ['nonce-unknown', 'nonce-unknown'],
  );
});

test('the thief of a token that was used gets no certificate from any quorum', () => {
  const { court, state } = courtOf(2, 3);
  const task = ask(court, state);
  court.deliver();
  assert.ok(isSigned(court, 'api', task.message));
  // Antedated, the thief displaces the first host everywhere, but two of three have endorsed that one.
  const thief = signerOf('thief');
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  state.apply(admissionStatement(thief, 'grant', grant, { admittedAt: startedAt, name: 'thief' }));
  assert.ok(state.isAdmitted(thief.publicKey));
  for (const bench of court.trustees.values()) court.restart(bench.signer.publicKey);
  const thiefs = new Court(2, 3, () => state, thief);
  for (const [id, bench] of court.trustees) thiefs.trustees.set(id, bench);
  thiefs.sign('stolen', task.purpose, task.message);
  thiefs.finish();
  assert.equal(thiefs.outcome('stolen'), 'use-raced');
});

test('a race for one use of a token in two halves of a mesh gives a certificate to one host at most', () => {
  const thief = signerOf('thief');
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  const [left, right] = [withHost(sharedState(2, 3)), sharedState(2, 3)];
  right.apply(grantStatement(grant));
  right.apply(admissionStatement(thief, 'grant', grant, { name: 'thief' }));
  const [first, second] = [1, 2].map((seat) => signerOf(`trustee ${seat}`).publicKey);
  // The third trustee is in the right half: only the thief reaches two.
  const stateOf = (trustee: HostId): TrustState => (trustee === first ? left : right);
  const court = new Court(2, 3, stateOf, host);
  const task = leafTask(frame(), left.bundle, host.publicKey);
  court.sign('host', task.purpose, task.message, [first!, second!]);
  court.finish();
  assert.equal(court.outcome('host'), 'not-admitted');
  const thiefs = new Court(2, 3, stateOf, thief);
  for (const [id, bench] of court.trustees) thiefs.trustees.set(id, bench);
  const theirs = leafTask(frame(), right.bundle, thief.publicKey);
  thiefs.sign('thief', theirs.purpose, theirs.message);
  thiefs.finish();
  assert.ok(isSigned(thiefs, 'thief', theirs.message));
  // Healed: everybody knows both, and the earlier admission counts; the use stays with whom two endorsed.
  right.apply(admissionStatement(host, 'grant', grant, { admittedAt: startedAt }));
  court.sign('healed', task.purpose, task.message);
  court.finish();
  assert.equal(court.outcome('healed'), 'use-raced');
});

for (const crash of ['before-write', 'after-write'] as const)
  test(`a trustee that dies ${crash} has said nothing, and after its restart signs nothing it had promised`, () => {
    const { court, state } = courtOf(2, 3);
    const [dying] = court.hosts as [HostId];
    court.crashes.set(dying, crash);
    const task = ask(court, state);
    court.finish();
    assert.ok(isSigned(court, 'api', task.message), 'the two others sign');
    const bench = court.trustees.get(dying)!;
    const shares = court.said.filter(({ from, message }) => from === dying && message.type === 'share');
    assert.deepEqual(shares, []);
    assert.deepEqual(bench.orders, ['offer'], 'the engine was never told to sign');
    const keys = [...bench.disk.keys()].map((one) => one.split('/')[1]);
    assert.deepEqual(keys.sort(), crash === 'after-write' ? ['endorsed', 'log'] : []);

    court.crashes.clear();
    court.restart(dying);
    const written = [...bench.disk];
    for (const { to, message } of [...court.said])
      if (to === dying && message.type === 'contribute')
        court.post(host.publicKey, dying, encodeQuorumMessage(message));
    court.deliver();
    assert.deepEqual([...bench.disk], written);
    assert.deepEqual(bench.orders, ['offer']);
    const last = court.said.at(-1)!.message;
    assert.ok(last.type === 'refused' && last.code === 'nonce-unknown');
  });

test('no share is ever said before what it signs, with which nonces, is on the disk of its trustee', () => {
  const { court, state } = courtOf(2, 3);
  const check: Tamper = (message, from) => {
    if (message.type !== 'share') return [message];
    const bench = court.trustees.get(from)!;
    const entry = bench.log.head!;
    const onDisk = [...bench.disk].find(([name]) => name.startsWith('issuer/log/'));
    assert.deepEqual(Buffer.from(onDisk![1]), Buffer.from(encodeEntry(bench.log.before(0, 1)[0]!)));
    const asked = court.said.findLast((said) => said.to === from)!.message;
    assert.ok(asked.type === 'contribute');
    assert.deepEqual([entry.nonceId, entry.commitments], [asked.nonceId, digestOf(asked.commitments)]);
    return [message];
  };
  court.tamper = check;
  ask(court, state);
  court.deliver();
  assert.notEqual(typeof court.outcome('api'), 'string');
});

test('a host that asks too often is told how long to wait', () => {
  const { court } = courtOf(2, 3);
  const [trustee] = court.hosts as [HostId];
  const codes = new Map<string, number>();
  for (let i = 0; i < 200; i++)
    court.post(
      host.publicKey,
      trustee,
      encodeQuorumMessage({
        type: 'ask',
        requestId: i,
        attempt: 1,
        epoch: 1,
        purpose: encodePurpose(leafTag, frame()),
      }),
    );
  court.deliver();
  for (const { from, message } of court.said) {
    if (from !== trustee) continue;
    const code = message.type === 'refused' ? message.code : message.type;
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  // Eight promises are open to one requester at most; the bucket holds 128.
  assert.deepEqual([...codes].sort(), [
    ['commitment', 8],
    ['nonce-quota', 120],
    ['rate-limited', 72],
  ]);
});

test('an engine that does not answer is not waited for, and its late answer changes nothing', () => {
  const { court } = courtOf(2, 3);
  const bench = court.trustees.get(court.hosts[0]!)!;
  const bytes = encodeQuorumMessage({
    type: 'ask',
    requestId: 1,
    attempt: 1,
    epoch: 1,
    purpose: encodePurpose(leafTag, frame()),
  });
  const [order] = bench.trustee.step({ type: 'message', from: host.publicKey, bytes }, court.now);
  assert.ok(order?.type === 'engine' && order.order.type === 'offer');
  const wake = bench.trustee.nextWake()!;
  const [sent] = bench.trustee.step({ type: 'wake' }, wake);
  assert.equal(sent?.type, 'send');
  const [report] = bench.engine.step(order.order, wake);
  assert.deepEqual(bench.trustee.step({ type: 'engine', report: report! }, wake), []);
  assert.equal(bench.trustee.nextWake(), null);
});
