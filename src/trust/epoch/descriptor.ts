/** What an epoch is: who its trustees are, how many of them sign, under which key. Codec and hash. */
import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type HostId, type Millis } from '../../core.ts';
import { latestTime } from '../fields.ts';
import { isSafeQuorum, maxTrustees } from './policy.ts';

/**
 * `generate`: a new key that never existed whole. `reshare`: the same key in new shares. `recover`: the same, dealt
 * by trustees too few to decide on it and by the holder of the cold seats, who decides instead. `refound`: a new key
 * where nothing can bring the one before back, decided by the first operator and more than half of all hosts.
 */
export type EpochKind = 'genesis' | 'generate' | 'reshare' | 'recover' | 'refound';

/** Whether no ballot decides on it: its number leaves room for what ballots decide elsewhere. */
export function isExtraordinary(kind: EpochKind): boolean {
  return kind === 'recover' || kind === 'refound';
}

/** Shares of an epoch's key that no host holds: sealed to a key for the day when too few trustees are left. */
export interface ColdPlan {
  /** Ed25519, hex. */
  readonly key: HostId;
  /** So many seats, behind those of the trustees; fewer than sign. */
  readonly seats: number;
}

/** Whether the epoch has the root key of the one before. */
export function keepsKey(kind: EpochKind): boolean {
  return kind === 'reshare' || kind === 'recover';
}

/** An epoch before its shares exist: what a proposer asks dealers and receivers to carry out. */
export interface EpochPlan {
  /** The hash of the genesis: which mesh. */
  readonly mesh: string;
  /** From 0, the founder alone, without gaps. */
  readonly epoch: number;
  /** Hash of the descriptor of the epoch before; zeros before epoch 0. */
  readonly previous: string;
  /** Of the root key: 0 is the genesis root. */
  readonly generation: number;
  readonly kind: EpochKind;
  readonly threshold: number;
  /** In the order of their seats; those who stay come first. */
  readonly trustees: readonly HostId[];
  /** Who deals: the new trustees themselves (`generate`), or a quorum of the old ones (`reshare`). */
  readonly dealers: readonly HostId[];
  /** The ballot in which it was planned: no two plans of honest proposers are equal. */
  readonly ballot: number;
  readonly proposedAt: Millis;
  readonly cold: ColdPlan | null;
  /** Of the cold seats of the epoch before, so many deal beside `dealers`; 0 unless it is a recovery. */
  readonly coldDealt: number;
  /** Who had shares of this very key and has none now, the longest ago first; at most `maxFormers`. */
  readonly formers: readonly HostId[];
  /** The least that ever signed with this key: so many old shares of one epoch are as good as it. */
  readonly weakest: number;
}

/** What an epoch says of those who held its key before. */
export type KeyHistory = Pick<EpochPlan, 'formers' | 'weakest'>;

/** What must be said of the history of the key in an epoch of these `seats` after `before`. */
export function historyAfter(
  before: EpochPlan,
  kind: EpochKind,
  seats: Pick<EpochPlan, 'trustees' | 'threshold'>,
): KeyHistory {
  if (!keepsKey(kind)) return { formers: [], weakest: seats.threshold };
  const ever = [...before.formers, ...before.trustees];
  const formers = ever.filter((host) => !seats.trustees.includes(host)).slice(-maxFormers);
  return { formers, weakest: Math.min(before.weakest, seats.threshold) };
}

export interface EpochDescriptor {
  readonly plan: EpochPlan;
  /** Ed25519 key of the root (hex). */
  readonly rootKey: string;
  /** What everybody may know of the shares, such as the keys that verify them. Opaque here. */
  readonly outcome: Uint8Array;
  /** The encoding, which is what is hashed and signed. */
  readonly bytes: Uint8Array;
  /** SHA-256, hex: the epoch's identity. */
  readonly hash: string;
  /** SHA-256 of the plan, hex: names the session that made the shares, and a trustee's share in its store. */
  readonly session: string;
}

const format = 2;
const descriptorTag = 'starling-epoch-descriptor-1\n';
const sessionTag = 'starling-epoch-session-1\n';
const kinds: readonly EpochKind[] = ['genesis', 'generate', 'reshare', 'recover', 'refound'];
const maxGeneration = 10_000;
/** Ballots are rounds times trustees; far beyond what honest proposers reach in a century. */
export const maxBallot: number = 2 ** 48;
/** Coefficients and cold shares of 13 trustees take under 4 KB. */
export const maxOutcomeBytes = 4096;
/** Of one key; whoever held it before those is forgotten. Seats are sticky: it takes years. */
export const maxFormers = 64;
export const maxDescriptorBytes: number = maxOutcomeBytes + 2048 + maxFormers * 32;
export const noHash: string = '0'.repeat(64);

/** Hosts without duplicates. */
function readHosts(reader: ByteReader, most: number = maxTrustees): HostId[] {
  const count = reader.varint(most);
  const hosts: HostId[] = [];
  for (let i = 0; i < count; i++) {
    const host = reader.hex(32);
    if (hosts.includes(host)) throw new Fault('malformed', 'a host is listed twice');
    hosts.push(host);
  }
  return hosts;
}

function writeHosts(writer: ByteWriter, hosts: readonly HostId[]): void {
  writer.varint(hosts.length);
  for (const host of hosts) writer.hex(host);
}

export function encodePlan(plan: EpochPlan): Uint8Array {
  const writer = new ByteWriter()
    .varint(format)
    .hex(plan.mesh)
    .varint(plan.epoch)
    .hex(plan.previous)
    .varint(plan.generation)
    .u8(kinds.indexOf(plan.kind))
    .varint(plan.threshold);
  writeHosts(writer, plan.trustees);
  writeHosts(writer, plan.dealers);
  writer
    .varint(plan.ballot)
    .varint(plan.proposedAt)
    .varint(plan.cold?.seats ?? 0);
  if (plan.cold !== null) writer.hex(plan.cold.key);
  writeHosts(writer.varint(plan.coldDealt), plan.formers);
  return writer.varint(plan.weakest).done();
}

/** Throws `Fault('malformed')`, for a quorum that is not safe too. */
export function decodePlan(bytes: Uint8Array): EpochPlan {
  const reader = new ByteReader(bytes);
  if (reader.varint() !== format) throw new Fault('malformed', 'a format this version does not know');
  const mesh = reader.hex(32);
  const epoch = reader.varint();
  const previous = reader.hex(32);
  const generation = reader.varint(maxGeneration);
  const kind = kinds[reader.u8()];
  if (kind === undefined) throw new Fault('malformed', 'unknown kind of epoch');
  const threshold = reader.varint(maxTrustees);
  const trustees = readHosts(reader);
  const dealers = readHosts(reader);
  const ballot = reader.varint(maxBallot);
  const proposedAt = reader.varint(latestTime);
  const coldSeats = reader.varint(maxTrustees);
  const cold = coldSeats === 0 ? null : { key: reader.hex(32), seats: coldSeats };
  const coldDealt = reader.varint(maxTrustees);
  const formers = readHosts(reader, maxFormers);
  const weakest = reader.varint(maxTrustees);
  reader.end();
  if (coldSeats >= threshold) throw new Fault('malformed', 'the cold seats could sign on their own');
  if (!isSafeQuorum(threshold, trustees.length))
    throw new Fault('malformed', `${threshold} of ${trustees.length} is no quorum`);
  return {
    mesh,
    epoch,
    previous,
    generation,
    kind,
    threshold,
    trustees,
    dealers,
    ballot,
    proposedAt,
    cold,
    coldDealt,
    formers,
    weakest,
  };
}

/** Names the session that carries out a plan. */
export function sessionOf(plan: EpochPlan): string {
  return createHash('sha256').update(sessionTag).update(encodePlan(plan)).digest('hex');
}

/** The epoch that a plan became. */
export function describeEpoch(plan: EpochPlan, rootKey: string, outcome: Uint8Array): EpochDescriptor {
  return decodeDescriptor(new ByteWriter().bytes(encodePlan(plan)).hex(rootKey).bytes(outcome).done());
}

/** Throws `Fault('malformed')`. Says nothing about whether anybody agreed to it. */
export function decodeDescriptor(bytes: Uint8Array): EpochDescriptor {
  if (bytes.length > maxDescriptorBytes) throw new Fault('malformed', 'descriptor is too large');
  const own = Uint8Array.from(bytes);
  const reader = new ByteReader(own);
  const plan = decodePlan(reader.bytes(maxDescriptorBytes));
  const rootKey = reader.hex(32);
  const outcome = Uint8Array.from(reader.bytes(maxOutcomeBytes));
  reader.end();
  const hash = createHash('sha256').update(descriptorTag).update(own).digest('hex');
  return { plan, rootKey, outcome, bytes: own, hash, session: sessionOf(plan) };
}

/** Epoch 0: the founder alone, holding the genesis root whole. Everybody can compute it from the genesis. */
export function genesisEpoch(
  mesh: string,
  founder: HostId,
  rootKey: string,
  createdAt: Millis,
): EpochDescriptor {
  const plan: EpochPlan = {
    mesh,
    epoch: 0,
    previous: noHash,
    generation: 0,
    kind: 'genesis',
    threshold: 1,
    trustees: [founder],
    dealers: [founder],
    ballot: 0,
    proposedAt: createdAt,
    cold: null,
    coldDealt: 0,
    formers: [],
    weakest: 1,
  };
  return describeEpoch(plan, rootKey, new Uint8Array());
}

/** What the root key signs to put an epoch into force. Begins with ASCII, so it is never a certificate. */
export function statementOf(descriptor: EpochDescriptor): Uint8Array {
  return Buffer.concat([
    Buffer.from('starling-epoch-statement-1\n'),
    Buffer.from(descriptor.plan.mesh, 'hex'),
    Buffer.from(descriptor.hash, 'hex'),
  ]);
}
