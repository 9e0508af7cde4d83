/** What is refused of an entry of any kind: that it is of none, and that it is too large. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import { Fault } from '../../../../src/core.ts';

function refusalOf(input: unknown): Fault {
  try {
    parseConfigEntry(input);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  assert.fail(`accepted: ${JSON.stringify(input)}`);
}

test('what names no kind of entry is refused with those there are', () => {
  assert.deepEqual([refusalOf([]).code, refusalOf({}).code], ['invalid-field', 'missing-field']);
  for (const [kind, says] of [
    ['service-rooter', /is not a kind of config entry; did you mean "service-router"\?/],
    ['bird-feeder', /is not a kind of config entry; supported: mesh, proxy-defaults, /],
    ['constructor', /is not a kind/],
    ['ingress-gateway', /has no meaning in this mesh/],
  ] as const) {
    const fault = refusalOf({ Kind: kind, Name: 'api' });
    assert.deepEqual([fault.code, fault.field], ['unsupported-kind', 'Kind']);
    assert.match(fault.message, says);
  }
});

test('an entry is as large as a record may be, and no larger', () => {
  const routes = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      Match: { HTTP: { PathExact: `/${i}${'x'.repeat(2000)}` } },
      Destination: { Service: 'b' },
    }));
  const entry = (count: number) => ({ Kind: 'service-router', Name: 'api', Routes: routes(count) });
  parseConfigEntry(entry(15));
  for (const count of [20, 200]) assert.equal(refusalOf(entry(count)).code, 'too-large');
});
