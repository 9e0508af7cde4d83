/** The care for roots: what a trustee has signed for them and when, and what the others judge of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, type HostId, type Millis, type Signer, seededRandom } from '../../../../src/core.ts';
import {
  Custodian,
  type CustodianContext,
  type CustodianEffect,
} from '../../../../src/trust/quorum/custodian.ts';
import { TurnJudge } from '../../../../src/trust/quorum/root-judge.ts';
import { encodeTurnRequest, type TurnRequest } from '../../../../src/trust/quorum/root-request.ts';
import {
  encodeRootCertificates,
  encodeRootTurn,
  type Turn,
  turnStatement,
} from '../../../../src/trust/root-record.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import { trustRootKind } from '../../../../src/trust/statement.ts';
import { foundedState, founder, genesis, hour, rootSigner, signerOf, startedAt, statement } from '../mesh.ts';

type Of<T extends CustodianEffect['type']> = Extract<CustodianEffect, { type: T }>;

/** A trustee whose mesh has held the key of a second root since just now. */
class Room {
  readonly state: TrustState = foundedState();
  readonly custodian: Custodian;
  readonly keys: readonly Signer[] = [rootSigner, signerOf('root 1')];
  now: Millis = startedAt + hour;
  seat: number | null = 0;
  isQuorumHere = true;
  waiting: { readonly [turn in Turn]: readonly string[] } = { active: [], retired: [] };
  private requests = 0;

  constructor() {
    const keys = this.keys.map(({ publicKey }, generation): [number, HostId] => [generation, publicKey]);
    this.state.bundle.learn(new Map(keys));
    this.custodian = new Custodian({ random: seededRandom(1), context: this.context() });
  }

  context(): CustodianContext {
    const { bundle } = this.state;
    return {
      mesh: genesis.hash,
      nameOf: (generation) => bundle.nameOf(generation),
      root: (generation) => bundle.get(generation),
      activeGeneration: () => bundle.active().generation,
      isTrustee: (host) => host === founder.publicKey,
      waitingFor: (_generation, turn) => this.waiting[turn],
      rootLifetimeMs: 100 * hour,
      longestLeafMs: hour,
      generation: () => 1,
      seat: () => this.seat,
      isQuorumHere: () => this.isQuorumHere,
      nextRequestId: () => ++this.requests,
    };
  }

  /** Time passes until the machine says something, or too much of it. */
  wake(withinMs: Millis): readonly CustodianEffect[] {
    const end = this.now + withinMs;
    for (;;) {
      const effects = this.custodian.step({ type: 'wake' }, this.now);
      if (effects.length > 0) return effects;
      const next = Math.max(this.custodian.nextWake() ?? end, this.now + 1);
      if (next > end) return [];
      this.now = next;
    }
  }

  signatures(effects: readonly CustodianEffect[]): Of<'sign'>[] {
    return effects.filter((effect) => effect.type === 'sign');
  }

  /** Signs with the key of the generation that is asked for. */
  sign({ requestId, generation, message }: Of<'sign'>): readonly CustodianEffect[] {
    const signature = this.keys[generation]!.sign(message);
    return this.custodian.step({ type: 'signed', requestId, signature }, this.now);
  }

  fail({ requestId }: Of<'sign'>): void {
    const failed = { type: 'failed', requestId, reason: 'quorum-lost' } as const;
    assert.deepEqual(this.custodian.step(failed, this.now), []);
  }

  /** Enters a published record as every host would: it must prove itself. */
  publish([effect, ...more]: readonly CustodianEffect[]): void {
    assert.ok(effect?.type === 'publish' && more.length === 0);
    const { key, value } = effect;
    const bytes = 'turn' in value ? encodeRootTurn(value) : encodeRootCertificates(value);
    const author = founder.publicKey;
    const record = statement({ scope: 'policy', kind: trustRootKind, key, author, value: bytes });
    assert.equal(this.state.judge(record, this.now), null);
    this.state.apply(record);
  }

  states(): string[] {
    return this.state.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);
  }

  introduce(): void {
    const [own, cross] = this.signatures(this.wake(10_000));
    assert.deepEqual(this.sign(own!), [], 'only with both');
    this.publish(this.sign(cross!));
  }
}

test('a root is certified by itself and by the one before, signs when all believe it, and then the old one goes', () => {
  const room = new Room();
  room.introduce();
  assert.deepEqual(room.states(), ['g0 active', 'g1 next']);
  assert.notEqual(room.state.bundle.get(1)?.crossDer, null);
  room.waiting = { active: ['h9'], retired: ['h9'] };
  assert.deepEqual(room.wake(60_000), []);
  assert.match(room.custodian.problem ?? '', /do not believe root g1 yet: h9/);
  room.waiting = { active: [], retired: ['h9'] };
  const [turn] = room.signatures(room.wake(10_000));
  assert.deepEqual([turn?.generation, turn?.request.type], [1, 'turn'], 'it puts itself into force');
  room.publish(room.sign(turn!));
  assert.deepEqual(room.states(), ['g0 old', 'g1 active']);
  assert.deepEqual(room.wake(60_000), []);
  room.waiting = { active: [], retired: [] };
  const [end] = room.signatures(room.wake(10_000));
  assert.equal(end?.generation, 1, 'the later one puts the older away');
  room.publish(room.sign(end!));
  assert.deepEqual(room.states(), ['g0 retired', 'g1 active']);
  assert.deepEqual(room.wake(60_000), []);
  assert.equal(room.custodian.problem, null);
});

test('trustees of later seats wait their turn, and who is none does nothing', () => {
  for (const [seat, isMine] of [
    [0, true],
    [2, false],
    [null, false],
  ] as const) {
    const room = new Room();
    room.seat = seat;
    assert.equal(room.wake(6000).length > 0, isMine, `seat ${seat}`);
    assert.equal(room.wake(6000).length > 0, seat === 2, `seat ${seat}, later`);
  }
});

test('a root goes without the certificate of the one before once nobody signs it, and at once if they are away', () => {
  for (const isQuorumHere of [true, false]) {
    const room = new Room();
    room.isQuorumHere = isQuorumHere;
    let failures = 0;
    for (;;) {
      const asked = room.signatures(room.wake(30_000));
      const cross = asked.find(({ generation }) => generation === 0);
      if (cross === undefined) {
        room.publish(room.sign(asked[0]!));
        break;
      }
      room.fail(cross);
      failures++;
    }
    assert.equal(failures, isQuorumHere ? 6 : 1);
    assert.equal(room.state.bundle.get(1)?.crossDer, null);
  }
});

test('what answers nothing, or something that is not wanted any more, publishes nothing', () => {
  const room = new Room();
  const [own, cross] = room.signatures(room.wake(10_000));
  assert.deepEqual(
    room.custodian.step({ type: 'signed', requestId: 999, signature: own!.message }, room.now),
    [],
  );
  room.sign(own!);
  // Another trustee was faster.
  const other = new Room();
  other.introduce();
  for (const { generation, pem, crossDer } of other.state.bundle.all().slice(1)) {
    assert.ok(crossDer !== null);
    const cert = { generation, certPem: pem, crossPem: null };
    const record = { scope: 'policy', kind: trustRootKind, key: 'g1', author: founder.publicKey } as const;
    room.state.apply(statement({ ...record, value: encodeRootCertificates(cert) }));
  }
  room.waiting = { active: ['h9'], retired: [] };
  room.wake(10_000);
  assert.deepEqual(room.sign(cross!), []);
});

test('a trustee judges a turn with its own eyes, and signs what it rebuilds', () => {
  const room = new Room();
  const judge = new TurnJudge(room.context());
  const request: TurnRequest = { generation: 1, turn: 'active', at: room.now, by: 1 };
  const ask = (parts: Partial<TurnRequest> = {}, from = founder.publicKey) =>
    judge.judge(encodeTurnRequest({ ...request, ...parts }), from, room.now);
  const refused = (code: string, parts: Partial<TurnRequest> = {}, from?: HostId): void => {
    assert.throws(
      () => ask(parts, from),
      (error: unknown) => error instanceof Fault && error.code === code,
      code,
    );
  };
  refused('root-unknown');
  room.introduce();
  const { message, generation, note } = ask();
  assert.deepEqual(message, turnStatement(genesis.hash, request));
  assert.deepEqual([generation, note.subject, note.serial], [1, 'root g1 active', '']);
  refused('not-a-trustee', {}, signerOf('stranger').publicKey);
  refused('clock-skew', { at: room.now + hour });
  refused('clock-skew', { at: room.now + 1 });
  refused('wrong-root', { by: 0 });
  refused('wrong-root', { generation: 0, turn: 'retired', by: 0 });
  room.waiting = { active: ['h9'], retired: [] };
  refused('not-acknowledged');
  for (const bytes of [new Uint8Array(), Uint8Array.of(1, 7, 0, 1)])
    assert.throws(
      () => judge.judge(bytes, founder.publicKey, room.now),
      (error: unknown) => error instanceof Fault && error.code === 'malformed',
    );
});
