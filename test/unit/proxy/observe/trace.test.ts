/** Trace headers: what is continued, what is begun, and what is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import {
  continueTrace,
  hexDigits,
  parseSingleB3,
  parseTraceparent,
} from '../../../../src/proxy/observe/trace.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = '00f067aa0ba902b7';
const never = 0;
const always = 1;

function continued(headers: { [name: string]: string }, sample: number) {
  return continueTrace((name) => headers[name] ?? null, sample, seededRandom(3));
}

/** The headers as the next hop gets them. */
function onward(headers: { [name: string]: string }, sample: number): { [name: string]: string } {
  const found = continued(headers, sample);
  if (found === null) return headers;
  const kept = Object.entries(headers).filter(([name]) => !found.cuts.includes(name));
  const added = found.lines
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => line.split(': ') as [string, string]);
  assert.equal(new Set([...kept, ...added].map(([name]) => name)).size, kept.length + added.length);
  return Object.fromEntries([...kept, ...added]);
}

test('a traceparent is continued by a span of this hop', () => {
  const headers = { traceparent: `00-${traceId}-${parent}-01`, tracestate: 'vendor=1' };
  const { trace } = continued(headers, never)!;
  assert.deepEqual({ ...trace, spanId: '' }, { traceId, spanId: '', parentSpanId: parent, isSampled: true });
  assert.match(trace.spanId, /^[0-9a-f]{16}$/);
  assert.deepEqual(onward(headers, never), {
    traceparent: `00-${traceId}-${trace.spanId}-01`,
    tracestate: 'vendor=1',
  });
});

test('a trace that is not recorded goes on untouched, whatever our own share', () => {
  for (const headers of [
    { traceparent: `00-${traceId}-${parent}-00` },
    { b3: `${traceId}-${parent}-0` },
    { b3: '0' },
    { 'x-b3-traceid': traceId, 'x-b3-spanid': parent, 'x-b3-sampled': '0' },
    { 'x-b3-sampled': 'false' },
  ] as { [name: string]: string }[])
    assert.equal(continued(headers, always), null, JSON.stringify(headers));
});

test('a trace that begins here says whether it is recorded, so that all hops do alike', () => {
  for (const [sample, flags] of [
    [never, '00'],
    [always, '01'],
  ] as const) {
    const { trace } = continued({}, sample)!;
    assert.equal(trace.parentSpanId, '');
    assert.equal(trace.isSampled, flags === '01');
    const { traceparent } = onward({}, sample);
    assert.deepEqual(parseTraceparent(traceparent!), {
      traceId: trace.traceId,
      spanId: trace.spanId,
      isSampled: trace.isSampled,
    });
  }
});

test('b3 in one header is continued in one header, with its length and its wish to debug', () => {
  const short = traceId.slice(16);
  const { trace } = continued({ b3: `${short}-${parent}-d` }, never)!;
  assert.equal(trace.traceId, short.padStart(32, '0'));
  assert.deepEqual(onward({ b3: `${short}-${parent}-d` }, never), {
    b3: `${short}-${trace.spanId}-d-${parent}`,
  });
  // Whoever sends ids without a decision leaves it to the next hop.
  assert.equal(continued({ b3: `${traceId}-${parent}` }, never)!.trace.isSampled, false);
  assert.equal(continued({ b3: `${traceId}-${parent}` }, always)!.trace.isSampled, true);
  assert.equal(continued({ b3: '1' }, never)!.trace.parentSpanId, '');
});

test('b3 in several headers is continued in several', () => {
  const headers = {
    'x-b3-traceid': traceId.toUpperCase(),
    'x-b3-spanid': parent,
    'x-b3-parentspanid': '1111111111111111',
    'x-b3-sampled': '1',
  };
  const { trace } = continued(headers, never)!;
  assert.deepEqual(onward(headers, never), {
    'x-b3-traceid': traceId,
    'x-b3-spanid': trace.spanId,
    'x-b3-parentspanid': parent,
    'x-b3-sampled': '1',
  });
});

test('who sends both forms gets both, of one trace', () => {
  const sent = { traceparent: `00-${traceId}-${parent}-01`, b3: `${'1'.repeat(32)}-${parent}-1` };
  const found = onward(sent, never);
  assert.equal(found.b3!.split('-')[0], traceId);
  assert.equal(found.b3!.split('-')[1], found.traceparent!.split('-')[2]);
});

test('what is no trace context is replaced by a new one, and what vendors noted beside it goes', () => {
  for (const traceparent of [
    'nonsense',
    `ff-${traceId}-${parent}-01`,
    `00-${'0'.repeat(32)}-${parent}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId}-${parent}-01-more`,
    `00-${traceId}-${parent}-01,00-${traceId}-${parent}-01`,
    `00-${traceId.toUpperCase()}-${parent}-01`,
  ]) {
    const found = onward({ traceparent, tracestate: 'vendor=1' }, always);
    assert.deepEqual(Object.keys(found), ['traceparent'], traceparent);
    assert.notEqual(parseTraceparent(found.traceparent!)!.traceId, traceId);
  }
  // The same goes for notes that came without any parent.
  assert.deepEqual(Object.keys(onward({ tracestate: 'vendor=1' }, always)), ['traceparent']);
  assert.deepEqual(continued({}, always)!.cuts, []);
  // A version to come may say more; what is known of it holds.
  assert.equal(parseTraceparent(`01-${traceId}-${parent}-01-more`)!.traceId, traceId);
  for (const b3 of ['', 'x', `${traceId}`, `${traceId}-${parent}-2`, `${'0'.repeat(32)}-${parent}-1`])
    assert.equal(parseSingleB3(b3), null, b3);
});

test('ids are hexadecimal, as long as asked, and never all zero', () => {
  assert.match(hexDigits(32, seededRandom(1)), /^[0-9a-f]{32}$/);
  assert.equal(hexDigits(16, { next: () => 0 }), '0000000000000001');
});
