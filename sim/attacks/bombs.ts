/**
 * Values, records and frames as large, as deep and as numerous as an encoding allows, and beyond: an agent refuses
 * each or takes it for what it is, in little time and room. Pure.
 */
import {
  CHECK,
  CHECK_DEFINITION,
  HOST,
  POLICY_RECEIPT,
  SERVICE,
  TRUST_ACCUSATION,
  TRUST_HEAD,
} from '../../src/agent/kinds.ts';
import { ByteWriter, type Random, randomInt, type Signer } from '../../src/core.ts';
import { encodeFrame } from '../../src/gossip/framecodec.ts';
import {
  type Digest,
  type Frame,
  maxFrameBytes,
  maxRangesPerFrame,
  maxRecordsPerFrame,
  maxRumors,
  maxSlotsPerFrame,
} from '../../src/gossip/frames.ts';
import { maxKeyBytes, maxKindBytes, maxTailBytes } from '../../src/gossip/replica/codec.ts';
import { digestBytes } from '../../src/gossip/replica/digest.ts';
import { maxValueBytes } from '../../src/gossip/replica/record.ts';
import { bucketCount, partsPerBucket } from '../../src/gossip/replica/slots.ts';
import { encodeDelta, maxDeltaBytes } from '../../src/gossip/spread/dissemination.ts';
import { drawBytes } from '../host/keys.ts';
import { serviceDefinition } from '../host/services.ts';

/** What an honest agent never claims: its list would be longer than a frame, or than memory. */
const absurdCounts: readonly number[] = [513, 4_001, 2 ** 20, 2 ** 32, Number.MAX_SAFE_INTEGER];
const ghost = serviceDefinition('ghost');
const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const deep = maxValueBytes / 2 - 300;

/** Values that are not what any kind of record has. */
const shapeless: readonly string[] = [
  '['.repeat(deep) + ']'.repeat(deep),
  '['.repeat(maxValueBytes),
  `${'{"a":'.repeat(deep / 4)}1${'}'.repeat(deep / 4)}`,
  `{${many(3_000, (i) => `"k${i}":1`).join(',')}}`,
  '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"id":"ghost","name":"ghost"}',
  '{"id":"ghost","name":"ghost","port":1e999,"state":"left","incarnation":1e308,"epoch":-0}',
  `"${'\\ud800'.repeat(5_000)}"`,
  `"${'\\u0000'.repeat(5_000)}"`,
  '9'.repeat(maxValueBytes),
  'null',
  '',
];

/** Values that are what a service, or a check, may have, as much of it as there is room for. */
const swollen: { readonly [kind: string]: readonly object[] } = {
  [SERVICE]: [
    { ...ghost, tags: many(256, (i) => `${i}-${'t'.repeat(100)}`) },
    { ...ghost, meta: Object.fromEntries(many(900, (i) => [`m${i}`, 'x'.repeat(20)])) },
    { ...ghost, meta: JSON.parse('{"__proto__":"a","constructor":"b","toString":"c","":"d"}') },
    { ...ghost, checks: many(64, (i) => ({ ...ghost.checks[0]!, id: `check-${i}`, notes: 'n'.repeat(80) })) },
    {
      ...ghost,
      upstreams: many(256, (i) => ({
        destination: `up-${i}`,
        bindAddress: '127.0.0.1',
        bindPort: 65_535,
        datacenter: '',
      })),
    },
    { ...ghost, weights: { passing: 65_535, warning: 65_535 }, address: 'a'.repeat(253) },
    { ...ghost, tags: deeply(deep / 2) },
  ],
  [CHECK]: [
    {
      name: 'ghost',
      status: 'passing',
      notes: '\u{10ffff}'.repeat(2_000),
      output: '\u0007'.repeat(3_000),
      serviceId: 'ghost',
      type: 'ttl',
    },
  ],
  [CHECK_DEFINITION]: [
    { serviceId: 'ghost', check: { ...ghost.checks[0], body: 'b'.repeat(8_192), id: 'x'.repeat(256) } },
    {
      serviceId: 'ghost',
      check: {
        ...ghost.checks[0],
        header: Object.fromEntries(many(1_500, (i) => [`h${i}`, ['v']])),
        intervalMs: 0,
        timeoutMs: 0,
      },
    },
  ],
  [TRUST_ACCUSATION]: [{ detail: 'd'.repeat(256), evidence: 'A'.repeat(24 * 1024), at: 0 }],
  [TRUST_HEAD]: [{ head: 'AAAA'.repeat(5_000) }],
  [POLICY_RECEIPT]: [{ revision: deeply(deep) }],
};
/** Kinds with one slot a host. */
const unkeyed: readonly string[] = [HOST, POLICY_RECEIPT, TRUST_HEAD];
const kinds: readonly string[] = [HOST, 'note', ...Object.keys(swollen)];
/** Slots of a kind with keys that are filled over and over. */
const bombKeys = 3;

/** An array that nests so often, which `encodeJson` could not write: it recurses. */
function deeply(levels: number): object {
  let value: unknown[] = [];
  for (let level = 1; level < Math.min(levels, 1_000); level++) value = [value];
  return value;
}

export interface Bomb {
  readonly kind: string;
  readonly key: string;
  readonly value: Uint8Array;
}

/** One slot and what to put into it, no larger than a record may be. */
export function drawBomb(random: Random): Bomb {
  const kind = kinds[randomInt(random, kinds.length)]!;
  const key = unkeyed.includes(kind) ? '' : `bomb-${randomInt(random, bombKeys)}`;
  const fitting = swollen[kind] ?? [];
  const choice = randomInt(random, fitting.length + shapeless.length);
  const object = fitting[choice];
  const text = object === undefined ? shapeless[choice - fitting.length]! : JSON.stringify(object);
  return { kind, key, value: new TextEncoder().encode(text).subarray(0, maxValueBytes) };
}

const recordTag = new TextEncoder().encode('starling record 1\0');

/** A record with parts longer than any has, truly signed, as `encodeRecord` would not. */
export function oversizedRecord(signer: Signer, version: number, hlc: number, random: Random): Uint8Array {
  const longest = { kind: maxKindBytes, key: maxKeyBytes, value: maxValueBytes, tail: maxTailBytes };
  const parts = Object.entries(longest).map(([name, most]) => ({ name, most }));
  const grown = parts[randomInt(random, parts.length)]!.name;
  const sizeOf = (name: keyof typeof longest): number =>
    name === grown ? longest[name] + 1 + randomInt(random, 20_000) : 4;
  const body = new ByteWriter()
    .u8(1)
    .u8(0)
    .hex(signer.publicKey)
    .string('k'.repeat(sizeOf('kind')))
    .string('y'.repeat(sizeOf('key')))
    .varint(version)
    .varint(hlc)
    .u8(0)
    .bytes(new Uint8Array(sizeOf('value')).fill(48))
    .bytes(new Uint8Array(sizeOf('tail')))
    .done();
  return Buffer.concat([body, signer.sign(Buffer.concat([recordTag, body]))]);
}

/** Deltas that claim more records than they hold, hold more than one may, or are longer than one may be. */
export function drawAbsurdDelta(record: Uint8Array, random: Random): Uint8Array {
  switch (randomInt(random, 4)) {
    case 0:
      return Buffer.concat([encodeDelta([]).slice(0, -1), claim(random), record]);
    case 1:
      return encodeDelta(many(maxRecordsPerFrame + 1, () => record.subarray(0, 60)));
    case 2:
      return encodeDelta(many(Math.ceil(maxDeltaBytes / record.length) + 1, () => record));
    default:
      return encodeDelta(many(maxRecordsPerFrame, () => new Uint8Array(0)));
  }
}

/** The head of a frame, and a count of what never comes. */
export function drawHollowFrame(session: number, random: Random): Uint8Array {
  const heads: readonly Frame[] = [
    { type: 'rumors', rumors: [] },
    { type: 'sync-listing', session, last: true, ranges: [] },
    { type: 'sync-parts', session, buckets: [] },
    { type: 'sync-want', session, slots: [] },
    { type: 'sync-records', session, last: true, records: [] },
    { type: 'sync-collected', session, slots: [] },
    { type: 'sync-open', session, buckets: null },
  ];
  const head = encodeFrame(heads[randomInt(random, heads.length)]!).slice(0, -1);
  const rest = random.next() < 0.3 ? maxFrameBytes + randomInt(random, 2) * 20_000 : randomInt(random, 400);
  return Buffer.concat([head, claim(random), new Uint8Array(rest).fill(randomInt(random, 256))]);
}

function claim(random: Random): Uint8Array {
  return new ByteWriter().varint(absurdCounts[randomInt(random, absurdCounts.length)]!).done();
}

/** Frames of anti-entropy and of rumors that are as full as one may be, of what is nowhere. */
export function drawFullFrame(session: number, record: Uint8Array, random: Random): Frame {
  const digest = (): Digest => Buffer.from(drawBytes(random, digestBytes)).toString('latin1');
  const id = (): string => Buffer.from(drawBytes(random, 32)).toString('hex');
  const entries = (count: number) => many(count, () => ({ slot: digest(), record: digest() }));
  switch (randomInt(random, 8)) {
    case 0:
      return { type: 'sync-open', session, buckets: drawBytes(random, bucketCount * digestBytes) };
    case 1:
      return {
        type: 'sync-listing',
        session,
        last: true,
        ranges: many(maxRangesPerFrame, (range) => ({ range, entries: [] })),
      };
    case 2:
      return { type: 'sync-listing', session, last: false, ranges: [{ range: 1, entries: entries(3_900) }] };
    case 3:
      return {
        type: 'sync-parts',
        session,
        buckets: many(240, (bucket) => ({
          bucket,
          digests: drawBytes(random, partsPerBucket * digestBytes),
        })),
      };
    case 4:
      return { type: 'sync-want', session, slots: many(maxSlotsPerFrame, digest) };
    case 5:
      return {
        type: 'sync-collected',
        session,
        slots: many(maxRecordsPerFrame, () => ({ slot: digest(), floor: Number.MAX_SAFE_INTEGER })),
      };
    case 6: {
      const records = many(Math.min(maxRecordsPerFrame, Math.floor(60_000 / record.length)), () => record);
      return { type: 'sync-records', session, last: true, records };
    }
    default:
      return {
        type: 'rumors',
        rumors: many(maxRumors, () => ({ state: 'down', id: id(), incarnation: 0, accuser: id() })),
      };
  }
}
