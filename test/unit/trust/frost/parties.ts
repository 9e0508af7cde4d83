/** Hosts, entropy and groups for the tests of the threshold key. Everything derives from small labels. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ed25519Signer, ed25519Verify, type HostId, type Signer } from '../../../../src/core.ts';
import { answerSeedBytes } from '../../../../src/trust/frost/answer.ts';
import { Ceremony, type CeremonyTerms, type Party } from '../../../../src/trust/frost/ceremony.ts';
import type { CeremonyEffect, CeremonyInput } from '../../../../src/trust/frost/ceremony-port.ts';
import { dealingEntropyBytes } from '../../../../src/trust/frost/dealing.ts';
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  signEnvelope,
} from '../../../../src/trust/frost/envelope.ts';
import { GroupKey, KeyShare } from '../../../../src/trust/frost/keys.ts';
import { CeremonyMachine } from '../../../../src/trust/frost/machine.ts';
import { nonceEntropyBytes, SigningNonces } from '../../../../src/trust/frost/nonces.ts';
import { Polynomial, type Seat } from '../../../../src/trust/frost/polynomial.ts';
import { aggregate, SigningSession, signShare } from '../../../../src/trust/frost/signing.ts';

/** As many bytes as asked for, another sequence for every label. */
export function entropyOf(label: string, bytes: number): Uint8Array {
  return createHash('shake256', { outputLength: bytes }).update(label).digest();
}

export function hostOf(label: string): Signer {
  return ed25519Signer(entropyOf(`host ${label}`, 32));
}

export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** A group and all its shares. */
export interface Keys {
  readonly group: GroupKey;
  readonly shares: ReadonlyMap<Seat, KeyShare>;
}

/** What a trusted dealer would hand out. */
export function dealtKeys(threshold: number, seats: readonly Seat[], label = 'dealer'): Keys {
  const polynomial = Polynomial.draw(threshold, entropyOf(label, Polynomial.entropyBytes(threshold)));
  const commitments = polynomial.commitments().map(({ element }) => element);
  return {
    group: new GroupKey(seats, commitments),
    shares: new Map(seats.map((seat) => [seat, new KeyShare(seat, polynomial.evaluate(seat))])),
  };
}

/** The signature of `seats` over `message`; anything but a signature fails the test. */
export function signWith(
  group: GroupKey,
  shares: readonly KeyShare[],
  message: Uint8Array,
  label = 'nonces',
): Uint8Array {
  const nonces = shares.map((share) =>
    SigningNonces.create(share, entropyOf(`${label} ${share.seat}`, nonceEntropyBytes)),
  );
  const session = new SigningSession(
    group,
    message,
    nonces.map(({ commitment }) => commitment),
  );
  const parts = shares.map((share, i) => [share.seat, signShare(session, share, nonces[i]!)] as const);
  const result = aggregate(session, new Map(parts));
  assert.equal(result.type, 'signed', `${shares.length} shares make a signature`);
  assert.ok(result.type === 'signed' && ed25519Verify(group.publicKey, message, result.signature));
  return result.signature;
}

export function partiesOf(labels: readonly string[], firstSeat = 1): Party[] {
  return labels.map((label, i) => ({ seat: firstSeat + i, host: hostOf(label).publicKey }));
}

export const session = '00112233445566778899aabbccddeeff';

/** Terms for generating a key among hosts `h1` to `hn`. */
export function generationTerms(threshold: number, count: number): CeremonyTerms {
  const parties = partiesOf(range(1, count).map((i) => `h${i}`));
  return {
    trustDomain: 'mesh.example',
    generation: 1,
    epoch: 1,
    session,
    dealers: parties,
    receivers: parties,
    threshold,
    quorum: count,
    previous: null,
    cold: null,
    coldDealer: null,
  };
}

/** What a host tells with the word that it holds its share. */
export function receiptOf(host: HostId): Uint8Array {
  return Buffer.from(`receipt of ${host.slice(0, 8)}`);
}

type Outcome = Extract<CeremonyEffect, { type: 'done' | 'failed' }>;

/** All hosts of a ceremony over a network that a test can tamper with; time stands still unless told. */
export class Table {
  readonly ceremony: Ceremony;
  readonly machines = new Map<HostId, CeremonyMachine>();
  readonly outcomes = new Map<HostId, Outcome>();
  readonly effects: { readonly host: HostId; readonly effect: CeremonyEffect }[] = [];
  now = 0;
  /** Messages on their way; a test may change, drop or add some. Null drops. */
  tamper: (from: HostId, to: HostId, bytes: Uint8Array) => Uint8Array | null = (_from, _to, bytes) => bytes;
  private readonly queue: { readonly from: HostId; readonly to: HostId; readonly bytes: Uint8Array }[] = [];
  private readonly signers: ReadonlyMap<HostId, Signer>;

  constructor(
    terms: CeremonyTerms,
    signers: readonly Signer[],
    shares: ReadonlyMap<Seat, KeyShare> = new Map(),
    label = 'entropy',
  ) {
    this.ceremony = new Ceremony(terms);
    this.signers = new Map(signers.map((signer) => [signer.publicKey, signer]));
    for (const signer of signers) {
      const dealer = terms.dealers.find(({ host }) => host === signer.publicKey);
      const machine = new CeremonyMachine({
        ceremony: this.ceremony,
        signer,
        verify: ed25519Verify,
        share: (terms.previous && dealer && shares.get(dealer.seat)) ?? null,
        entropy: entropyOf(
          `${label} ${terms.session} ${signer.publicKey}`,
          dealingEntropyBytes(this.ceremony),
        ),
        answerSeed: entropyOf(`${label} answers ${terms.session} ${signer.publicKey}`, answerSeedBytes),
        startedAt: 0,
        claimAfterMs: 1000,
        claimLeastMs: 100,
        heedUntilMs: 1250,
        answerUntilMs: 1375,
        tellAfterMs: 1500,
        deadlineMs: 3000,
      });
      this.machines.set(signer.publicKey, machine);
    }
  }

  /** Everybody's hosts, dealers and receivers. */
  private hosts(): HostId[] {
    const { dealers, receivers } = this.ceremony.terms;
    return [...new Set([...dealers, ...receivers].map(({ host }) => host))];
  }

  post(from: HostId, to: HostId, bytes: Uint8Array): void {
    this.queue.push({ from, to, bytes });
  }

  feed(host: HostId, input: CeremonyInput): void {
    const machine = this.machines.get(host);
    if (machine === undefined) return;
    for (const effect of machine.step(input, this.now)) {
      this.effects.push({ host, effect });
      if (effect.type === 'send') this.post(host, effect.to, effect.bytes);
      else if (effect.type === 'broadcast') {
        for (const to of this.hosts()) if (to !== host) this.post(host, to, effect.bytes);
      } else if (effect.type === 'persist') this.feed(host, { type: 'persisted', receipt: receiptOf(host) });
      else if (effect.type === 'done' || effect.type === 'failed') this.outcomes.set(host, effect);
    }
  }

  deliver(): void {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const bytes = this.tamper(next.from, next.to, next.bytes);
      if (bytes !== null) this.feed(next.to, { type: 'message', bytes });
    }
  }

  start(): this {
    for (const host of this.machines.keys()) this.feed(host, { type: 'start' });
    this.deliver();
    return this;
  }

  /** Time passes until nobody waits for anything. */
  finish(): this {
    return this.until(Number.POSITIVE_INFINITY);
  }

  /** The same, until then at most. */
  until(end: number): this {
    for (let wakes = 0; wakes < 100; wakes++) {
      const deadlines = [...this.machines.values()].map(
        (machine) => machine.nextWake() ?? Number.POSITIVE_INFINITY,
      );
      const next = Math.min(...deadlines);
      if (next === Number.POSITIVE_INFINITY) return this;
      if (next > end) {
        this.now = end;
        return this;
      }
      this.now = next;
      for (const [host, machine] of this.machines)
        if ((machine.nextWake() ?? Number.POSITIVE_INFINITY) <= next) this.feed(host, { type: 'wake' });
      this.deliver();
    }
    assert.fail('the ceremony never ends');
  }

  /** The keys, once every host is done with the same group. */
  keys(): Keys {
    const shares = new Map<Seat, KeyShare>();
    let group: GroupKey | null = null;
    for (const host of this.machines.keys()) {
      const outcome = this.outcomes.get(host);
      assert.ok(outcome?.type === 'done', `${host} is done`);
      group ??= outcome.group;
      assert.deepEqual(outcome.group.encode(), group.encode(), 'all have the same group');
      if (outcome.share !== null) shares.set(outcome.share.seat, outcome.share);
    }
    assert.ok(group !== null);
    return { group, shares };
  }

  /** What every host, by its label, missed when it was time; `dealing h4` for each. */
  missed(label: (host: HostId) => string): Record<string, string[]> {
    const missed: Record<string, string[]> = {};
    for (const { host, effect } of this.effects)
      if (effect.type === 'unheard')
        missed[label(host)] = effect.absences.map((absence) => `${absence.of} ${label(absence.host)}`);
    return missed;
  }

  /** What every named host says of who is to blame, as `reason label`. */
  blames(label: (host: HostId) => string): string[] {
    return [...this.machines.keys()].map((host) => {
      const outcome = this.outcomes.get(host);
      if (outcome === undefined) return 'nothing';
      if (outcome.type === 'done') return 'done';
      return outcome.blame === null ? 'nobody' : `${outcome.blame.reason} ${label(outcome.blame.host)}`;
    });
  }

  /** The payload that `host` would send to `to`: it starts now if it did not before. */
  said(host: HostId, type: Envelope['type'], to: HostId): Uint8Array {
    if (!this.effects.some((said) => said.host === host)) this.feed(host, { type: 'start' });
    for (const { host: from, effect } of this.effects) {
      if (from !== host || (effect.type !== 'send' && effect.type !== 'broadcast')) continue;
      const envelope = decodeEnvelope(this.ceremony, effect.bytes);
      if (envelope.type === type && (effect.type === 'broadcast' || effect.to === to))
        return envelope.payload;
    }
    assert.fail(`${type} was never said`);
  }

  /** Encoded envelopes of a type that `host` sent. */
  messages(host: HostId, type: Envelope['type']): Uint8Array[] {
    return this.effects.flatMap(({ host: from, effect }) =>
      from === host &&
      (effect.type === 'send' || effect.type === 'broadcast') &&
      decodeEnvelope(this.ceremony, effect.bytes).type === type
        ? [effect.bytes]
        : [],
    );
  }

  /** A message of `host`'s own making, signed as it would be. */
  forge(host: HostId, message: Omit<Envelope, 'signature'>): Uint8Array {
    const signer = this.signers.get(host);
    assert.ok(signer);
    return encodeEnvelope(this.ceremony, signEnvelope(this.ceremony, signer, message));
  }
}

/** Generates a key among `count` honest hosts. */
export function generatedKeys(threshold: number, count: number): Keys {
  const signers = range(1, count).map((i) => hostOf(`h${i}`));
  return new Table(generationTerms(threshold, count), signers).start().keys();
}
