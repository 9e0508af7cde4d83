import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeIntroduction, introductionsOf } from '../../../../src/agent/joining/introduction.ts';
import { ADMISSION, GRANT, HOST, WELCOME } from '../../../../src/agent/kinds.ts';
import { ByteWriter, ed25519Signer, encodeJson, Fault, type Signer } from '../../../../src/core.ts';
import { decodeRecord, encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import type { Record } from '../../../../src/gossip/replica/record.ts';
import { encodeAdmission, parseAdmission } from '../../../../src/trust/admission/admission.ts';
import { signWelcome } from '../../../../src/trust/admission/welcome.ts';
import { Flock, type FlockHost, genesis } from '../../../support/flock.ts';

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

/** What `host` would show to a stranger. */
function shownBy(host: FlockHost): Uint8Array[] {
  const { core } = host;
  return introductionsOf(host.id, core.trust, (slot) => core.gossip.replica.get(slot));
}

/** `host` is shown each of these; says whether it takes `other` for a member then. */
function takes(host: FlockHost, introductions: readonly Uint8Array[], other: FlockHost): boolean {
  for (const bytes of introductions) host.feed({ type: 'introduction', bytes });
  return host.core.trust.isAdmitted(other.id);
}

/** The founder was away while `third` was let in by `second`. */
function absent() {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { ttlMs: 600_000 });
  const second = flock.join('second', first, token);
  first.kill();
  const third = flock.join('third', second, token);
  return { flock, first, second, third, token };
}

/** An introduction of these records. */
function introductionOf(records: readonly { readonly bytes: Uint8Array }[]): Uint8Array {
  const writer = new ByteWriter().u8(1).u8(records.length);
  for (const { bytes } of records) writer.bytes(bytes);
  return writer.done();
}

/** What there is to introduce a host with. */
function partsOf(host: FlockHost) {
  const { replica } = host.core.gossip;
  const own = (kind: string): Record => replica.get(`host/${host.id}/${kind}/`)!;
  const { grantId } = parseAdmission(own(ADMISSION).value);
  const grant = replica.get(`policy/${GRANT}/${grantId}`)!;
  return { admission: own(ADMISSION), welcome: own(WELCOME), where: own(HOST), grant };
}

function recordOf(signer: Signer, kind: string, value: Uint8Array) {
  return encodeRecord({ scope: 'host', kind, key: '', version: 7, hlc: 7 * 1024, value }, signer);
}

test('a host that was away takes in who joined meanwhile, though nobody who knows it is left', () => {
  const { flock, first, second, third } = absent();
  second.kill();
  flock.run(60_000);
  first.start();
  flock.run(20_000);
  assert.equal(first.core.gossip.member(third.id)?.state, 'alive');
  assert.equal(third.core.gossip.member(first.id)?.state, 'alive');
  assert.deepEqual(first.core.gossip.replica.root(), third.core.gossip.replica.root());
  assert.deepEqual(first.core.reception.introductions.taken, 1);
  assert.ok(
    first.logs.some(({ event, fields }) => event === 'host-introduced' && fields.id === third.id.slice(0, 8)),
  );
});

test('an admission counts long after its token expired, since the sponsor saw it in time', () => {
  const { flock, first, second, third } = absent();
  second.kill();
  flock.run(3_600_000);
  first.start();
  flock.run(20_000);
  assert.equal(first.core.gossip.member(third.id)?.state, 'alive');
});

test('a row of sponsors that all came while the host was away is introduced from its beginning', () => {
  const { flock, first, second, third, token } = absent();
  const fourth = flock.join('fourth', third, token);
  const fifth = flock.join('fifth', fourth, token);
  const shown = shownBy(fifth);
  assert.deepEqual(
    shown.map((bytes) => decodeIntroduction(bytes).host),
    [second.id, third.id, fourth.id, fifth.id],
  );
  first.start();
  assert.equal(
    takes(first, shown.slice(2), fifth),
    false,
    'who knows none of the row waits for its beginning',
  );
  assert.equal(first.core.reception.introductions.refused, 2);
  assert.equal(takes(first, shown, fifth), true);
});

test('the grant and the operator behind it come along', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  first.kill();
  const made = flock.createToken(second, { roles: ['operator'] });
  const other = ed25519Signer(Buffer.from(made.operatorSeed!, 'hex'));
  const third = flock.join('third', second, flock.token(second, { operator: other }));
  first.start();
  first.isCut = true;
  const [, shown] = shownBy(third);
  assert.equal(takes(first, [shown!], third), true);
});

test('the founder has nobody’s word and needs none', () => {
  const { first } = Flock.founded();
  assert.deepEqual(shownBy(first), []);
});

test('nobody enters by a sponsor that was denied', () => {
  const { flock, first, second, third } = absent();
  const shown = shownBy(third);
  second.kill();
  third.kill();
  first.start();
  flock.deny(first, second);
  assert.equal(takes(first, shown, third), false);
  assert.equal(first.core.reception.introductions.refused, 2);
});

test('nobody enters who was denied, not even by a word that was given before', () => {
  const { flock, first, second, third } = absent();
  const shown = shownBy(third);
  flock.deny(second, third);
  third.kill();
  first.start();
  flock.run(5000);
  assert.equal(first.core.trust.isDenied(third.id), true);
  assert.equal(takes(first, shown, third), false);
});

test('a thief of a token that has expired finds no sponsor, whatever time it claims', () => {
  const { flock, first, second, token } = absent();
  const thief = flock.add('thief');
  const early = flock.joinRequest(thief, token);
  flock.run(3_600_000);
  second.kill();
  first.start();
  const admission = decodeRecord(early);
  const welcomed = { genesisHash: genesis.hash, host: thief.id, admission: admission.value };
  const words = [
    { sponsor: second.id, signature: signWelcome(welcomed, thief.signer) },
    { sponsor: thief.id, signature: signWelcome(welcomed, thief.signer) },
    {
      sponsor: second.id,
      signature: signWelcome({ ...welcomed, genesisHash: '00'.repeat(32) }, second.signer),
    },
    { sponsor: second.id, signature: signWelcome({ ...welcomed, host: second.id }, second.signer) },
  ];
  for (const word of words) {
    const welcome = recordOf(thief.signer, WELCOME, encodeJson(word));
    assert.equal(takes(first, [introductionOf([admission, welcome])], thief), false);
  }
  const welcome = recordOf(
    thief.signer,
    WELCOME,
    encodeJson({ sponsor: second.id, signature: signWelcome(welcomed, second.signer) }),
  );
  assert.equal(
    takes(first, [introductionOf([admission, welcome])], thief),
    true,
    'it was the word that was missing',
  );
});

test('a sponsor’s word is for one admission: another under it is refused, by itself and by whom it names', () => {
  const { flock, first, second, third, token } = absent();
  second.kill();
  first.start();
  first.isCut = true;
  const { admission, welcome } = partsOf(third);
  const value = parseAdmission(admission.value);
  const renamed = recordOf(third.signer, ADMISSION, encodeAdmission({ ...value, name: 'first' }));
  assert.equal(takes(first, [introductionOf([renamed, welcome])], third), false);
  const other = flock.add('other');
  const again = decodeRecord(flock.joinRequest(other, token));
  const borrowed = recordOf(other.signer, WELCOME, welcome.value);
  assert.equal(takes(first, [introductionOf([again, borrowed])], other), false);
});

test('records that are not signed by whom they name are not taken in, and the rest is judged without them', () => {
  const { first, third } = absent();
  first.start();
  first.isCut = true;
  const { admission, welcome, where } = partsOf(third);
  const forged = where.bytes.with(where.bytes.length - 1, where.bytes.at(-1)! ^ 1);
  assert.equal(takes(first, [introductionOf([admission, welcome, { bytes: forged }])], third), true);
  assert.equal(first.core.catalog.host(third.id), undefined);
  assert.equal(first.core.gossip.member(third.id), undefined);
});

test('who is known already costs a look, and changes nothing', () => {
  const { flock, second, third } = absent();
  flock.run(5000);
  const before = second.core.gossip.replica.root();
  assert.equal(takes(second, shownBy(third), third), true);
  assert.deepEqual(second.core.gossip.replica.root(), before);
  assert.deepEqual(second.core.reception.introductions, { taken: 0, known: 2, refused: 0 });
});

test('of whom only the admission is known, where it is comes with the next introduction', () => {
  const { first, third } = absent();
  first.start();
  first.isCut = true;
  const { admission, welcome, where } = partsOf(third);
  assert.equal(takes(first, [introductionOf([admission, welcome])], third), true);
  assert.equal(first.core.catalog.host(third.id), undefined);
  assert.equal(takes(first, [introductionOf([admission, welcome, where])], third), true);
  assert.equal(first.core.catalog.host(third.id)?.value.address, third.address);
  assert.deepEqual(first.core.reception.introductions, { taken: 1, known: 1, refused: 0 });
});

test('the first sponsor’s word is kept while it is good, so that two never vouch for each other alone', () => {
  const { flock, second, third } = absent();
  const before = shownBy(second);
  const answer = flock.askToJoin(third, second.admission!);
  assert.ok(answer?.outcome === 'welcome');
  second.kill();
  second.sponsor = third;
  second.welcome = answer.signature;
  second.start();
  flock.run(5000);
  assert.deepEqual(shownBy(second), before);
});

test('another word takes the place of one by a sponsor that was denied', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', second, token);
  flock.deny(first, second);
  flock.run(2000);
  const answer = flock.askToJoin(first, third.admission!);
  assert.ok(answer?.outcome === 'welcome');
  third.kill();
  third.sponsor = first;
  third.welcome = answer.signature;
  third.start();
  flock.run(5000);
  const [shown, ...more] = shownBy(third);
  assert.equal(decodeIntroduction(shown!).welcome.sponsor, first.id);
  assert.equal(more.length, 0);
});

test('a host whose sponsor gave no word shows nobody anything, and is as good a member as ever', () => {
  const { flock, first } = Flock.founded();
  const second = flock.admit('second', first, flock.token(first));
  second.welcome = null;
  second.start();
  flock.run(5000);
  assert.ok(second.core.isSynchronised());
  assert.deepEqual(shownBy(second), []);
});

test('anything but one host’s papers in their order is malformed', () => {
  const { second, third } = absent();
  const mine = partsOf(third);
  const theirs = partsOf(second);
  const { admission, welcome, where } = mine;
  for (const records of [
    [],
    [admission],
    [welcome, admission],
    [admission, theirs.welcome],
    [admission, welcome, theirs.where],
    [admission, welcome, where, where],
    [admission, welcome, admission],
    [mine.grant],
    [admission, welcome, mine.grant],
    [recordOf(third.signer, 'grant', new Uint8Array(2)), admission, welcome],
    Array.from({ length: 9 }, () => mine.grant),
  ])
    assert.throws(() => decodeIntroduction(introductionOf(records)), hasCode('malformed'));
  const whole = introductionOf([mine.grant, admission, welcome, where]);
  assert.equal(decodeIntroduction(whole).host, third.id);
  for (let length = 0; length < whole.length; length += 7)
    assert.throws(() => decodeIntroduction(whole.subarray(0, length)), Fault);
});

test('whatever bytes arrive, the agent goes on and admits nobody', () => {
  const { first, second, third } = absent();
  const { admission, welcome, grant } = partsOf(third);
  const shown = introductionOf([grant, admission, welcome]);
  // What follows is the welcome, whose own signature need not be good where the sponsor's is.
  const end = introductionOf([grant, admission]).length;
  second.kill();
  third.kill();
  first.start();
  const garbled = fc
    .array(fc.tuple(fc.nat({ max: end - 1 }), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3,
    })
    .map((changes) => changes.reduce((bytes, [at, by]) => bytes.with(at, bytes[at]! ^ by), shown))
    .filter((bytes) => Buffer.compare(bytes, shown) !== 0);
  const { introductions } = first.core.reception;
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), garbled), (bytes) => {
      const before = introductions.refused;
      first.feed({ type: 'introduction', bytes });
      assert.equal(introductions.refused, before + 1);
      assert.equal(first.core.trust.isAdmitted(third.id), false);
    }),
    { numRuns: 300 },
  );
  assert.equal(takes(first, [shown], third), true, 'as it was, it is good');
});
