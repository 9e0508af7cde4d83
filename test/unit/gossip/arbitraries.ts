/** Arbitrary frames for property tests. */
import fc from 'fast-check';
import { dimensions, maxCoordinateMs, maxError } from '../../../src/gossip/coordinates/coordinate.ts';
import type { Frame, Rumor, SyncEnd } from '../../../src/gossip/frames.ts';
import { digestBytes } from '../../../src/gossip/replica/digest.ts';
import { bucketCount, partsPerBucket, rangeCount } from '../../../src/gossip/replica/slots.ts';
import { idleSigner } from './records.ts';

/** Records with the ordinary prototype, as a decoder makes them. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const safe = fc.maxSafeNat();
const id = fc.constantFrom('alice', 'bob').map((name) => idleSigner(name).publicKey);
const digest = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const rumors: fc.Arbitrary<Rumor[]> = fc.array(
  fc.oneof(
    plain({
      state: fc.constant('alive' as const),
      id,
      incarnation: safe,
      proof: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    }),
    plain({
      state: fc.constantFrom('suspect' as const, 'down' as const),
      id,
      incarnation: safe,
      accuser: id,
    }),
  ),
  { maxLength: 12 },
);
const belief = plain({
  state: fc.constantFrom(
    'alive' as const,
    'suspect' as const,
    'down' as const,
    'left' as const,
    'unknown' as const,
  ),
  incarnation: safe,
});
/** Floats, since that is what is told of a coordinate. */
const within = (min: number, max: number) => fc.float({ min, max, noNaN: true });
const place = within(-maxCoordinateMs, maxCoordinateMs);
const coordinate = plain({
  vectorMs: fc.array(place, { minLength: dimensions, maxLength: dimensions }),
  heightMs: within(0, maxCoordinateMs),
  adjustmentMs: place,
  error: within(0, maxError),
});
const type = <const T extends string>(name: T) => fc.constant(name);
export const frames: fc.Arbitrary<Frame> = fc.oneof(
  plain({ type: type('ping'), sequence: u32, incarnation: safe, coordinate, belief, rumors }),
  plain({
    type: type('ack'),
    sequence: u32,
    incarnation: safe,
    coordinate,
    belief,
    clock: safe,
    root: digest,
    rumors,
  }),
  plain({ type: type('ping-req'), sequence: u32, target: id, urgent: fc.boolean(), rumors }),
  plain({ type: type('relayed-ack'), sequence: u32 }),
  plain({ type: type('nack'), sequence: u32 }),
  plain({ type: type('corroborate'), target: id, incarnation: safe, rumors }),
  plain({ type: type('rumors'), rumors }),
  plain({
    type: type('sync-open'),
    session: u32,
    buckets: fc.option(fc.uint8Array({ minLength: 4096, maxLength: 4096 })),
  }),
  plain({
    type: type('sync-listing'),
    session: u32,
    last: fc.boolean(),
    ranges: fc.array(
      plain({
        range: fc.integer({ min: 0, max: rangeCount - 1 }),
        entries: fc.array(plain({ slot: digest, record: digest }), { maxLength: 5 }),
      }),
      { maxLength: 5 },
    ),
  }),
  plain({
    type: type('sync-parts'),
    session: u32,
    buckets: fc.array(
      plain({
        bucket: fc.integer({ min: 0, max: bucketCount - 1 }),
        digests: fc.uint8Array({
          minLength: partsPerBucket * digestBytes,
          maxLength: partsPerBucket * digestBytes,
        }),
      }),
      { maxLength: 5 },
    ),
  }),
  plain({
    type: type('sync-collected'),
    session: u32,
    slots: fc.array(plain({ slot: digest, floor: safe }), { maxLength: 5 }),
  }),
  plain({ type: type('sync-want'), session: u32, slots: fc.array(digest) }),
  plain({ type: type('sync-credit'), session: u32 }),
  plain({
    type: type('sync-close'),
    session: u32,
    reason: fc.constantFrom<SyncEnd>('done', 'busy', 'timeout', 'overrun'),
  }),
);
