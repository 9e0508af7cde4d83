import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, Fault } from '../../../src/core.ts';
import {
  digestOf,
  emptyHead,
  encodeEntry,
  type IssuanceEntry,
  IssuanceLog,
  noDigest,
} from '../../../src/trust/issuance-log.ts';
import {
  decodeEquivocation,
  decodeHead,
  type Equivocation,
  encodeEquivocation,
  encodeHead,
  LogAuditor,
  provesEquivocation,
  type SignedHead,
  signHead,
  verifyEntries,
} from '../../../src/trust/transparency.ts';
import { genesis, hour, signerOf, startedAt } from './mesh.ts';

const trustee = signerOf('trustee');
const mesh = genesis.hash;

/** A log whose entries ask for the services named, in this order. */
function logOf(services: readonly string[]): { readonly log: IssuanceLog; readonly bytes: Uint8Array[] } {
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
  return { log, bytes: log.after(0, 1000) };
}

function headOf(log: IssuanceLog): SignedHead {
  return signHead(mesh, log.durableHead, trustee, startedAt);
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

function isEvidence(result: IssuanceEntry[] | Equivocation): result is Equivocation {
  return !Array.isArray(result);
}

test('an auditor follows a log from head to head and gets every entry between them', () => {
  const auditor = new LogAuditor(mesh, ed25519Verify);
  assert.deepEqual(auditor.observe(headOf(new IssuanceLog())), { type: 'known' });
  const { log, bytes } = logOf(['a', 'b', 'c']);
  const head = headOf(log);
  assert.deepEqual(auditor.observe(head), { type: 'ahead', from: 0 });
  const entries = auditor.extend(head, bytes);
  assert.ok(!isEvidence(entries));
  assert.deepEqual(
    entries.map((entry) => entry.subject.at(-1)),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(auditor.observe(head), { type: 'known' });
  assert.equal(auditor.headOf(trustee.publicKey), head);
});

test('two heads of one length and different hashes convict their trustee', () => {
  const auditor = new LogAuditor(mesh, ed25519Verify);
  auditor.observe(headOf(logOf(['a', 'b']).log));
  const observed = auditor.observe(headOf(logOf(['a', 'x']).log));
  assert.equal(observed.type, 'equivocation');
  assert.ok(observed.type === 'equivocation' && provesEquivocation(mesh, observed.evidence, ed25519Verify));
});

test('a longer log that does not continue the shorter one convicts its trustee', () => {
  const auditor = new LogAuditor(mesh, ed25519Verify);
  auditor.observe(headOf(logOf(['a', 'hidden']).log));
  const other = logOf(['a', 'b', 'c', 'd']);
  const evidence = auditor.extend(headOf(other.log), other.bytes.slice(2));
  assert.ok(isEvidence(evidence));
  assert.ok(provesEquivocation(mesh, evidence, ed25519Verify));
  assert.ok(provesEquivocation(mesh, decodeEquivocation(encodeEquivocation(evidence)), ed25519Verify));
  assert.ok(!provesEquivocation('00'.repeat(32), evidence, ed25519Verify), 'in another mesh it is nothing');
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

test('entries that are left out, changed or do not lead to the head are refused and nothing is taken', () => {
  const auditor = new LogAuditor(mesh, ed25519Verify);
  auditor.observe(headOf(new IssuanceLog()));
  const { log, bytes } = logOf(['a', 'b', 'c']);
  const head = headOf(log);
  assert.throws(() => auditor.extend(head, [bytes[0]!, bytes[2]!]), hasCode('log-broken'));
  assert.throws(() => auditor.extend(head, bytes.slice(0, 2)), hasCode('log-broken'));
  assert.throws(() => auditor.extend(head, bytes.slice(1)), hasCode('log-broken'));
  assert.throws(() => auditor.extend(head, []), hasCode('log-broken'));
  assert.throws(() => auditor.extend(head, [new Uint8Array(5)]), hasCode('malformed'));
  const changed = encodeEntry({ ...verifyEntries(bytes, head)[1]!, subject: 'spiffe://other' });
  assert.throws(() => auditor.extend(head, [bytes[0]!, changed, bytes[2]!]), hasCode('log-broken'));
  assert.equal(auditor.headOf(trustee.publicKey)!.sequence, 0);
});

test('a head that its trustee did not sign is refused', () => {
  const auditor = new LogAuditor(mesh, ed25519Verify);
  const head = headOf(logOf(['a']).log);
  assert.throws(() => auditor.observe({ ...head, sequence: 2 }), hasCode('head-forged'));
  assert.throws(
    () => auditor.observe({ ...head, trustee: signerOf('other').publicKey }),
    hasCode('head-forged'),
  );
  assert.throws(() => new LogAuditor('00'.repeat(32), ed25519Verify).observe(head), hasCode('head-forged'));
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
