import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
import { HeadBook } from '../../../../src/trust/log/head-book.ts';
import {
  digestOf,
  emptyHead,
  encodeEntry,
  type IssuanceEntry,
  IssuanceLog,
  noDigest,
} from '../../../../src/trust/log/issuance-log.ts';
import {
  decodeEquivocation,
  decodeHead,
  encodeEquivocation,
  encodeHead,
  provesEquivocation,
  type SignedHead,
  signHead,
  verifyEntries,
} from '../../../../src/trust/log/transparency.ts';
import { genesis, hour, signerOf, startedAt } from '../mesh.ts';

const trustee = signerOf('trustee');
const mesh = genesis.hash;

/** A log whose entries ask for the services named, in this order. */
function logOf(services: readonly string[]): {
  readonly log: IssuanceLog;
  readonly entries: IssuanceEntry[];
  readonly bytes: Uint8Array[];
} {
  const log = new IssuanceLog();
  for (const service of services) {
    const { entry } = log.append({
      at: startedAt,
      requester: signerOf('host').publicKey,
      subject: `spiffe://mesh.example/ns/default/dc/dc1/svc/${service}`,
      serial: 'ab'.repeat(19),
      notBefore: startedAt,
      notAfter: startedAt + hour,
      digest: digestOf(Buffer.from(service)),
      nonceId: '',
      commitments: noDigest,
    });
    log.confirm(entry);
  }
  const entries = log.before(0, 1000);
  return { log, entries, bytes: entries.map(encodeEntry) };
}

function headOf(log: IssuanceLog): SignedHead {
  return signHead(mesh, log.durableHead, trustee, startedAt);
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

test('heads that continue one another convict nobody, in whatever order they are seen', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  const { log, entries } = logOf(['a', 'b', 'c']);
  for (const length of [0, 3, 1, 2, 3])
    assert.equal(book.note(headOf(logOf(['a', 'b', 'c'].slice(0, length)).log)), null);
  assert.equal(book.longestOf(trustee.publicKey)?.sequence, 3);
  assert.equal(book.compare(headOf(log), entries), null);
});

test('two heads of one length and different hashes convict their trustee', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  book.note(headOf(logOf(['a', 'b']).log));
  const evidence = book.note(headOf(logOf(['a', 'x']).log));
  assert.ok(evidence !== null && provesEquivocation(mesh, evidence, ed25519Verify));
});

test('a longer log that does not continue the shorter one convicts its trustee', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  book.note(headOf(logOf(['a', 'hidden']).log));
  const other = logOf(['a', 'b', 'c', 'd']);
  const evidence = book.compare(headOf(other.log), other.entries);
  assert.ok(evidence !== null);
  assert.ok(provesEquivocation(mesh, evidence, ed25519Verify));
  assert.ok(provesEquivocation(mesh, decodeEquivocation(encodeEquivocation(evidence)), ed25519Verify));
  assert.ok(!provesEquivocation('00'.repeat(32), evidence, ed25519Verify), 'in another mesh it is nothing');
});

test('a log that has forgotten what is older than a head is not held against its trustee', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  book.note(headOf(logOf(['a', 'hidden']).log));
  const other = logOf(['a', 'b', 'c', 'd']);
  assert.equal(book.compare(headOf(other.log), other.entries.slice(2)), null);
});

test('a trustee of many heads is remembered by its last ones', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  const services = Array.from({ length: 70 }, (_, i) => `s${i}`);
  for (let length = 1; length <= 70; length++) book.note(headOf(logOf(services.slice(0, length)).log));
  assert.equal(book.note(headOf(logOf(['x']).log)), null, 'the first is forgotten');
  assert.ok(book.note(headOf(logOf([...services.slice(0, 68), 'x']).log)) !== null);
});

test('however many heads of a shorter log come after it, the longest is remembered', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  const services = Array.from({ length: 100 }, (_, i) => `s${i}`);
  const { log } = logOf(services);
  book.note(headOf(log));
  for (let length = 0; length < 80; length++) book.note(headOf(logOf(services.slice(0, length)).log));
  assert.equal(book.longestOf(trustee.publicKey)?.sequence, 100);
});

test('an honest trustee cannot be convicted by any of its heads and entries', () => {
  const { bytes } = logOf(['a', 'b', 'c', 'd', 'e']);
  const heads = [0, 1, 2, 3, 4, 5].map((length) =>
    headOf(logOf(['a', 'b', 'c', 'd', 'e'].slice(0, length)).log),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...heads),
      fc.constantFrom(...heads),
      fc.subarray(bytes),
      (earlier, later, entries) => {
        assert.ok(!provesEquivocation(mesh, { earlier, later, entries }, ed25519Verify));
        assert.ok(
          !provesEquivocation(
            mesh,
            { earlier, later: { ...later, hash: emptyHead }, entries },
            ed25519Verify,
          ) || later.sequence === 0,
        );
      },
    ),
  );
});

test('entries that are left out, changed or do not lead to the head are refused', () => {
  const { log, bytes } = logOf(['a', 'b', 'c']);
  const head = headOf(log);
  assert.throws(() => verifyEntries([bytes[0]!, bytes[2]!], head), hasCode('log-broken'));
  assert.throws(() => verifyEntries(bytes.slice(0, 2), head), hasCode('log-broken'));
  assert.throws(() => verifyEntries([], head), hasCode('log-broken'));
  assert.throws(() => verifyEntries([new Uint8Array(5)], head), hasCode('malformed'));
  const changed = encodeEntry({ ...verifyEntries(bytes, head)[1]!, subject: 'spiffe://other' });
  assert.throws(() => verifyEntries([bytes[0]!, changed, bytes[2]!], head), hasCode('log-broken'));
});

test('a head that its trustee did not sign is refused', () => {
  const book = new HeadBook(mesh, ed25519Verify);
  const head = headOf(logOf(['a']).log);
  assert.throws(() => book.note({ ...head, sequence: 2 }), hasCode('head-forged'));
  assert.throws(() => book.note({ ...head, trustee: signerOf('other').publicKey }), hasCode('head-forged'));
  assert.throws(() => new HeadBook('00'.repeat(32), ed25519Verify).note(head), hasCode('head-forged'));
  assert.deepEqual(book.trustees(), []);
});

test('heads and evidence read back as written, and garbage is malformed', () => {
  const { log, bytes } = logOf(['a', 'b']);
  const head = headOf(log);
  assert.deepEqual(decodeHead(encodeHead(head)), {
    ...head,
    signature: Uint8Array.from(head.signature),
  });
  const evidence = encodeEquivocation({ earlier: head, later: head, entries: bytes });
  fc.assert(
    fc.property(fc.nat(), fc.nat({ max: 255 }), (at, value) => {
      const garbled = Uint8Array.from(evidence);
      garbled[at % garbled.length] = value;
      try {
        assert.ok(!provesEquivocation(mesh, decodeEquivocation(garbled), ed25519Verify));
      } catch (error) {
        assert.ok(hasCode('malformed')(error));
      }
    }),
  );
});
