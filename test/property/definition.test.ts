import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { goDuration } from '../../src/agent/consul/consul.ts';
import { parseDefinition, parseDefinitions, toConsul } from '../../src/agent/consul/definition.ts';
import { parseDuration } from '../../src/agent/consul/duration.ts';
import { parseConfigEntry } from '../../src/agent/entries/entry.ts';
import { intentionsOf } from '../../src/agent/entries/service-intentions.ts';
import { Fault } from '../../src/core.ts';

const file = { type: 'file', path: '/etc/x.json' } as const;

/** Any JSON, and JSON that looks like a definition with anything in its places. */
const keys = fc.constantFrom(
  'name',
  'Name',
  'id',
  'port',
  'tags',
  'meta',
  'check',
  'checks',
  'services',
  'service',
  'connect',
  'sidecar_service',
  'proxy',
  'upstreams',
  'interval',
  'ttl',
  'http',
  'args',
  'weights',
  'kind',
  'sources',
  'action',
  '__proto__',
);
const anything = fc.oneof(
  fc.jsonValue(),
  fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom('web', 'service-intentions', '10s', 'http://a/', 80, -1, null, true),
      tie('object'),
      fc.array(tie('object'), { maxLength: 3 }),
    ),
    object: fc.dictionary(keys, tie('value'), { maxKeys: 6 }),
  })).object,
);

function onlyFaults(parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof Fault, `not a Fault: ${error}`);
    assert.ok(error.field !== undefined, 'a fault without a field');
  }
}

test('whatever users write, definitions and entries are read or refused with a field, never a crash', () => {
  fc.assert(
    fc.property(anything, (input) => {
      onlyFaults(() => parseDefinitions(input, file));
      onlyFaults(() => parseConfigEntry(input));
    }),
    { numRuns: 2000 },
  );
});

test('whatever an operator of another version signed, intentions can be read', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (Sources) => {
      const entry = { Kind: 'service-intentions', Name: 'api', Sources };
      const stored = {
        kind: 'service-intentions',
        name: 'api',
        entry,
        author: '',
        hlc: 0,
        createIndex: 1,
        modifyIndex: 1,
        reachedAt: null,
      };
      for (const { action } of intentionsOf([stored])) assert.ok(action === 'allow' || action === 'deny');
    }),
  );
});

const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$/);
const duration = fc.integer({ min: 100, max: 600_000 }).map(goDuration);
const common = {
  Name: label,
  Status: fc.constantFrom('passing', 'warning', 'critical'),
  DeregisterCriticalServiceAfter: duration,
};
const check = fc.oneof(
  fc.record({ ...common, TTL: duration }),
  fc.record({
    ...common,
    TCP: fc.integer({ min: 1, max: 65535 }).map((port) => `127.0.0.1:${port}`),
    Interval: duration,
    Timeout: duration,
    SuccessBeforePassing: fc.nat(5),
    FailuresBeforeCritical: fc.nat(5),
  }),
  fc.record({
    ...common,
    HTTP: fc.webUrl({ validSchemes: ['http'] }),
    Method: fc.constantFrom('GET', 'HEAD'),
    Interval: duration,
  }),
  fc.record({ ...common, Args: fc.constant(['/bin/true', 'x']), Interval: duration }),
);
const definition = fc.record({
  ID: label,
  Name: label,
  Port: fc.nat(65535),
  Tags: fc.array(fc.string({ maxLength: 20 }), { maxLength: 4 }),
  Meta: fc.dictionary(fc.stringMatching(/^[a-zA-Z0-9_-]{1,9}$/), fc.string({ maxLength: 20 }), {
    maxKeys: 4,
  }),
  Weights: fc.record({ Passing: fc.integer({ min: 1, max: 65535 }), Warning: fc.nat(65535) }),
  Mesh: fc.boolean(),
  User: fc.constantFrom('', '33', 'www-data'),
  Checks: fc.array(check, { maxLength: 3 }),
});

test('a definition that was accepted reads the same after being written', () => {
  fc.assert(
    fc.property(definition, (input) => {
      const parsed = parseDefinition(input, file);
      assert.deepEqual(parseDefinition(toConsul(parsed), file), parsed);
    }),
    { numRuns: 300 },
  );
});

test('a duration is what is printed of it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 31 * 24 * 3_600_000 }), (milliseconds) => {
      assert.equal(parseDuration(goDuration(milliseconds), 'x'), milliseconds);
    }),
  );
});
