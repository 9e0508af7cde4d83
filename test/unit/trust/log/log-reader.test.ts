/** Reading the logs of others: page by page, checked, within a time, whatever they answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault, type HostId, type Signer } from '../../../../src/core.ts';
import { digestOf, encodeEntry, IssuanceLog, noDigest } from '../../../../src/trust/log/issuance-log.ts';
import { LogKeeper } from '../../../../src/trust/log/log-keeper.ts';
import {
  decodeLogAnswer,
  decodeLogRequest,
  encodeLogAnswer,
  encodeLogRequest,
  type LogAnswer,
  maxPageEntries,
} from '../../../../src/trust/log/log-message.ts';
import {
  LogReader,
  type LogReaderEffect,
  maxLogsRead,
  maxReads,
} from '../../../../src/trust/log/log-reader.ts';
import { genesis, signerOf, startedAt } from '../mesh.ts';

const reader = signerOf('reader').publicKey;

function logOf(length: number, capacity?: number): IssuanceLog {
  const log = new IssuanceLog([], capacity);
  for (let i = 1; i <= length; i++) {
    const { entry } = log.append({
      at: startedAt + i,
      requester: signerOf('host').publicKey,
      subject: `entry ${i}`,
      serial: '',
      notBefore: 0,
      notAfter: 0,
      digest: digestOf(Buffer.from(`${i}`)),
      nonceId: '',
      commitments: noDigest,
    });
    log.confirm(entry);
  }
  return log;
}

type Tamper = (answer: LogAnswer, page: number) => LogAnswer | null;

/** A reader among trustees, each of whom has a log and may answer as it likes. */
class Desk {
  readonly machine = new LogReader({ mesh: genesis.hash, verify: ed25519Verify, firstId: 7 });
  readonly keepers = new Map<HostId, { readonly keeper: LogKeeper; readonly tamper: Tamper }>();
  readonly outcomes = new Map<number, Extract<LogReaderEffect, { type: 'read' }>['logs']>();
  pages = 0;
  now = startedAt;

  trustee(name: string, log: IssuanceLog, tamper: Tamper = (answer) => answer): Signer {
    const signer = signerOf(name);
    this.keepers.set(signer.publicKey, { keeper: new LogKeeper(genesis.hash, signer, log), tamper });
    return signer;
  }

  read(readId: number, trustees: readonly HostId[] = [...this.keepers.keys()]): void {
    this.carryOut(this.machine.step({ type: 'read', readId, trustees }, this.now));
  }

  carryOut(effects: readonly LogReaderEffect[]): void {
    for (const effect of effects)
      if (effect.type === 'read') this.outcomes.set(effect.readId, effect.logs);
      else this.deliver(effect.to, effect.bytes);
  }

  private deliver(to: HostId, bytes: Uint8Array): void {
    const trustee = this.keepers.get(to);
    if (trustee === undefined) return;
    const honest = decodeLogAnswer(trustee.keeper.answer(reader, bytes, this.now));
    const answer = trustee.tamper(honest, ++this.pages);
    if (answer === null) return;
    this.carryOut(this.machine.step({ type: 'message', from: to, bytes: encodeLogAnswer(answer) }, this.now));
  }

  /** Lets time pass until nothing is waited for. */
  settle(): void {
    for (let wake = this.machine.nextWake(); wake !== null; wake = this.machine.nextWake()) {
      this.now = Math.max(this.now, wake);
      this.carryOut(this.machine.step({ type: 'wake' }, this.now));
    }
  }
}

test('a log of several pages is read to its first entry, in order', () => {
  const desk = new Desk();
  desk.trustee('a', logOf(2 * maxPageEntries + 5));
  desk.trustee('b', new IssuanceLog());
  desk.read(1);
  const [a, b] = desk.outcomes.get(1)!;
  assert.equal(a?.problem, null);
  assert.deepEqual(
    a?.entries.map(({ sequence }) => sequence),
    Array.from({ length: 2 * maxPageEntries + 5 }, (_, i) => i + 1),
  );
  assert.equal(desk.pages, 4);
  assert.deepEqual([b?.problem, b?.entries, b?.head?.sequence], [null, [], 0]);
});

test('a log that has let go of its oldest entries is read as far as it goes', () => {
  const desk = new Desk();
  desk.trustee('a', logOf(20, 12));
  desk.read(1);
  const [a] = desk.outcomes.get(1)!;
  assert.deepEqual([a?.problem, a?.entries[0]?.sequence, a?.entries.at(-1)?.sequence], [null, 9, 20]);
});

test('who does not answer, or cannot be reached, is named, and the others are read', () => {
  const desk = new Desk();
  desk.trustee('a', logOf(3));
  desk.trustee('silent', logOf(3), () => null);
  desk.trustee('gone', logOf(3), () => null);
  desk.read(1);
  assert.equal(desk.outcomes.size, 0);
  const gone = signerOf('gone').publicKey;
  desk.carryOut(desk.machine.step({ type: 'unreachable', host: gone }, desk.now));
  desk.settle();
  assert.deepEqual(
    desk.outcomes.get(1)!.map(({ problem }) => problem),
    [null, 'no-answer', 'unreachable'],
  );
  assert.ok(desk.now - startedAt <= 15_000);
});

test('a trustee that answers one page after the other for ever does not keep its reader for ever', () => {
  const desk = new Desk();
  desk.trustee('slow', logOf(2000), (answer) => {
    desk.now += 2500;
    return answer;
  });
  desk.read(1);
  desk.settle();
  assert.ok(desk.outcomes.get(1)![0]!.problem === 'no-answer');
  assert.ok(desk.now - startedAt <= 20_000);
});

test('heads that are forged and pages that do not lead to them are nothing', () => {
  const other = logOf(4, 3);
  const page = (answer: LogAnswer): Extract<LogAnswer, { type: 'page' }> => {
    assert.ok(answer.type === 'page');
    return answer;
  };
  const tampered: [string, Tamper][] = [
    ['head-forged', (answer) => ({ ...page(answer), head: { ...page(answer).head, sequence: 9 } })],
    ['log-broken', (answer) => ({ ...page(answer), entries: other.before(0, 3).map(encodeEntry) })],
    ['log-broken', (answer) => ({ ...page(answer), entries: [] })],
    ['malformed', (answer) => ({ ...page(answer), entries: [new Uint8Array(9)] })],
    ['busy', ({ requestId }) => ({ type: 'busy', requestId, retryAfterMs: 5 })],
  ];
  for (const [problem, tamper] of tampered) {
    const desk = new Desk();
    desk.trustee('a', logOf(5), tamper);
    desk.read(1);
    const [walk] = desk.outcomes.get(1)!;
    assert.equal(walk?.problem, problem);
    assert.deepEqual(walk?.entries, []);
  }
  const desk = new Desk();
  desk.trustee('a', logOf(maxPageEntries + 3), (answer, number) =>
    number === 1 ? answer : { ...page(answer), entries: page(answer).entries.slice(1, 2) },
  );
  desk.read(1);
  assert.deepEqual(
    desk.outcomes.get(1)!.map(({ problem, entries }) => [problem, entries.length]),
    [['log-broken', maxPageEntries]],
    'what was checked before stays',
  );
});

test('logs beyond what one reading takes are named, not left out', () => {
  const desk = new Desk();
  const trustees = Array.from(
    { length: maxLogsRead + 2 },
    (_, i) => desk.trustee(`t${i}`, logOf(1)).publicKey,
  );
  desk.read(1, trustees);
  const problems = desk.outcomes.get(1)!.map(({ problem }) => problem);
  assert.deepEqual(problems.slice(-3), [null, 'not-asked', 'not-asked']);
});

test('nobody can answer for another, and so many readings are under way at most', () => {
  const desk = new Desk();
  const { publicKey } = desk.trustee('a', logOf(3), () => null);
  for (let id = 1; id <= maxReads; id++) desk.read(id, [publicKey]);
  assert.throws(
    () => desk.read(99, [publicKey]),
    (error: unknown) => error instanceof Fault && error.code === 'overloaded',
  );
  const bytes = desk.keepers
    .get(publicKey)!
    .keeper.answer(reader, encodeLogRequest({ requestId: 8, before: 0 }), 0);
  const from = signerOf('b').publicKey;
  desk.carryOut(desk.machine.step({ type: 'message', from, bytes }, desk.now));
  desk.carryOut(desk.machine.step({ type: 'message', from: publicKey, bytes: new Uint8Array(4) }, desk.now));
  assert.equal(desk.outcomes.size, 0);
  desk.carryOut(desk.machine.step({ type: 'message', from: publicKey, bytes }, desk.now));
  assert.equal(desk.outcomes.size, 1);
});

test('whoever asks too often is told to wait, and garbage is no request', () => {
  const keeper = new LogKeeper(genesis.hash, signerOf('a'), logOf(1));
  const request = encodeLogRequest({ requestId: 1, before: 0 });
  assert.deepEqual(decodeLogRequest(request), { requestId: 1, before: 0 });
  const types = Array.from(
    { length: 200 },
    () => decodeLogAnswer(keeper.answer(reader, request, startedAt)).type,
  );
  assert.equal(types[0], 'page');
  assert.equal(types.at(-1), 'busy');
  assert.throws(() => keeper.answer(reader, new Uint8Array([9]), startedAt), Fault);
});
