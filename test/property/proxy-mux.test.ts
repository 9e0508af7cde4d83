/** Two starling/1 sessions joined back to back: whatever the order and division of bytes, each stream is itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Session, type SessionEvents } from '../../src/proxy/mux/session.ts';
import type { MuxStream } from '../../src/proxy/mux/stream.ts';
import { type TransportOwner, takeKept } from '../../src/proxy/transport.ts';

const silentEvents: SessionEvents = { onOutput() {}, onStream() {}, onGoAway() {}, onMalformed() {} };

class Reader implements TransportOwner {
  readonly chunks: Buffer[] = [];
  finished = false;
  closed: string | null = null;
  onData(bytes: Buffer, start: number, end: number): void {
    this.chunks.push(Buffer.from(bytes.subarray(start, end)));
  }
  onFinish(): void {
    this.finished = true;
  }
  onClose(reason: string): void {
    this.closed = reason;
  }
  onDrain(): void {}
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

/** Moves at most one batch from one session to another, cut into pieces of `pieceBytes`. */
function move(from: Session, to: Session, pieceBytes: number): boolean {
  const batch = from.takeOutput();
  if (batch === null) return false;
  // The batch is filled again; and what was received is, unless it was kept.
  const bytes = Buffer.from(batch);
  from.written(batch);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes);
    takeKept();
    to.receive(piece);
    if (!takeKept()) piece.fill('*');
  }
  return true;
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      stream: fc.nat(5),
      size: fc.oneof(fc.nat(2000), fc.nat(900_000)),
      fromServer: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('move' as const),
      toServer: fc.boolean(),
      pieceBytes: fc.integer({ min: 1, max: 70_000 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('pause' as const),
      stream: fc.nat(5),
      fromServer: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('resume' as const),
      stream: fc.nat(5),
      fromServer: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('finish' as const),
      stream: fc.nat(5),
      fromServer: fc.boolean(),
    }),
  },
);

test('every stream delivers exactly its bytes, then its end, in both directions', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const accepted = new Map<number, MuxStream>();
      const problems: string[] = [];
      const client = new Session(true, { ...silentEvents, onMalformed: (problem) => problems.push(problem) });
      const server = new Session(false, {
        ...silentEvents,
        onMalformed: (problem) => problems.push(problem),
        onStream: (stream) => {
          accepted.set(stream.id, stream);
          stream.owner = readers.get(stream.id)![1];
        },
      });
      const readers = new Map<number, [Reader, Reader]>();
      const sent = new Map<number, [Buffer[], Buffer[]]>();
      const ended = new Map<number, [boolean, boolean]>();
      const streams = Array.from({ length: 6 }, () => client.open('tcp'));
      for (const stream of streams) {
        readers.set(stream.id, [new Reader(), new Reader()]);
        sent.set(stream.id, [[], []]);
        ended.set(stream.id, [false, false]);
        stream.owner = readers.get(stream.id)![0];
      }
      while (move(client, server, 1000));
      let seed = 1;
      for (const each of steps) {
        if (each.type === 'move') {
          if (each.toServer) move(client, server, each.pieceBytes);
          else move(server, client, each.pieceBytes);
          continue;
        }
        const id = streams[each.stream]!.id;
        const side = each.fromServer ? 1 : 0;
        const stream = each.fromServer ? accepted.get(id)! : streams[each.stream]!;
        if (each.type === 'write' && !ended.get(id)![side]) {
          const bytes = Buffer.alloc(each.size, seed++ % 251);
          sent.get(id)![side].push(bytes);
          stream.write(bytes, 0, bytes.length);
        } else if (each.type === 'pause') stream.pause();
        else if (each.type === 'resume') stream.resume();
        else if (each.type === 'finish') {
          ended.get(id)![side] = true;
          stream.finish();
        }
      }
      for (const stream of [...streams, ...accepted.values()]) stream.resume();
      for (let idle = 0; idle < 2; ) {
        const moved = [move(client, server, 9973), move(server, client, 8191)];
        idle = moved.includes(true) ? 0 : idle + 1;
      }
      assert.deepEqual(problems, []);
      for (const [id, [fromClient, fromServer]] of sent) {
        const [atClient, atServer] = readers.get(id)!;
        assert.ok(Buffer.concat(fromClient).equals(atServer.bytes));
        assert.ok(Buffer.concat(fromServer).equals(atClient.bytes));
        const [clientEnded, serverEnded] = ended.get(id)!;
        assert.equal(atServer.finished, clientEnded);
        assert.equal(atClient.finished, serverEnded);
      }
      const open = [...ended.values()].filter(([a, b]) => !(a && b)).length;
      assert.equal(client.streamCount, open);
      assert.equal(server.streamCount, open);
    }),
    { numRuns: 60 },
  );
});

test('what is outstanding on a stream that nobody reads is at most its window', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 1, maxLength: 12 }), (sizes) => {
      const reader = new Reader();
      const client = new Session(true, silentEvents);
      const server = new Session(false, {
        ...silentEvents,
        onStream: (stream) => {
          stream.owner = reader;
          stream.pause();
        },
      });
      const stream = client.open('tcp');
      for (const size of sizes) stream.write(Buffer.alloc(size, 7), 0, size);
      while (move(client, server, 16_000) || move(server, client, 16_000));
      const total = sizes.reduce((sum, size) => sum + size, 0);
      assert.equal(reader.bytes.length, Math.min(total, 256 * 1024));
      assert.equal(stream.pendingBytes, total - reader.bytes.length);
    }),
  );
});

test('bytes nobody vouches for end the session or do nothing, and never throw', () => {
  const frame = fc
    .tuple(
      fc.nat(9),
      fc.oneof(fc.nat(12), fc.nat(20_000)),
      fc.oneof(fc.nat(9), fc.nat(0xffffffff)),
      fc.uint8Array({ maxLength: 40 }),
    )
    .map(([type, length, stream, payload]) => {
      const header = Buffer.alloc(8);
      header.writeUInt32BE(((type << 24) | length) >>> 0, 0);
      header.writeUInt32BE(stream, 4);
      return Buffer.concat([header, payload]);
    });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((raw) => Buffer.from(raw)),
    fc.array(frame, { maxLength: 20 }).map((frames) => Buffer.concat(frames)),
  );
  fc.assert(
    fc.property(bytes, fc.boolean(), (input, isClient) => {
      let problems = 0;
      const session = new Session(isClient, {
        ...silentEvents,
        onStream: (stream) => {
          stream.owner = new Reader();
        },
        onMalformed: () => {
          problems++;
        },
      });
      if (isClient) session.open('tcp').owner = new Reader();
      session.receive(input);
      assert.ok(problems <= 1);
      assert.equal(session.isOver, problems === 1);
      assert.ok(!session.isOver || session.streamCount === 0);
    }),
    { numRuns: 2000 },
  );
});
