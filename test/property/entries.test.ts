/** Config entries made up from the forms that describe them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formOf, parseConfigEntry } from '../../src/agent/entries/entry.ts';
import type { JsonSchema } from '../../src/agent/entries/form.ts';
import { supportedKinds } from '../../src/agent/entries/kinds.ts';
import { intentionsOf } from '../../src/agent/entries/service-intentions.ts';
import { policyViewOf } from '../../src/agent/entries/view.ts';
import { Fault } from '../../src/core.ts';
import { compile } from '../../src/proxy/compile/compile.ts';
import { rawStoreOf } from '../support/policy.ts';

const texts = [
  'api',
  'web',
  'v1',
  '*',
  '/a',
  '/b/',
  '10s',
  '1m30s',
  '250ms',
  'x-user',
  'global',
  'mesh',
  'http://t/x',
  'TLSv1_3',
];
const filters = ['Service.Meta.version == v1', '"a" in Service.Tags', 'v[0-9]+', '.*'];

/** Values that a schema describes, most fields of objects left out: few entries say much. */
function valueFor(schema: JsonSchema): fc.Arbitrary<unknown> {
  const { type, pattern, properties, items, additionalProperties, minimum, maximum, propertyNames } = schema;
  if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as string[]));
  if (type === 'boolean') return fc.boolean();
  if (type === 'integer' || type === 'number')
    return fc.oneof(
      fc.constantFrom(minimum, 100, 100, 503),
      fc.integer({ min: minimum as number, max: maximum as number }),
    );
  if (Array.isArray(type)) return fc.constantFrom('10s', '1m30s', '250ms', 5e9);
  if (type === 'array') return fc.array(valueFor(items as JsonSchema), { minLength: 1, maxLength: 2 });
  if (type === 'string') {
    const fitting = [...texts, ...filters].filter((text) =>
      new RegExp((pattern as string | undefined) ?? '', 'u').test(text),
    );
    return fc.constantFrom(...(fitting.length > 0 ? fitting : ['x']));
  }
  if (typeof additionalProperties === 'object') {
    const key = new RegExp((propertyNames as { pattern: string }).pattern, 'u');
    // No field's name: those begin with a capital.
    const keys = texts.filter((text) => key.test(text) && !/^[A-Z]/.test(text));
    return fc.dictionary(fc.constantFrom(...keys), valueFor(additionalProperties as JsonSchema), {
      minKeys: 1,
      maxKeys: 2,
    });
  }
  const required = new Set((schema.required as string[] | undefined) ?? []);
  const fields = Object.entries(properties as { [field: string]: JsonSchema }).map(([name, held]) =>
    required.has(name)
      ? valueFor(held).map((value): [string, unknown][] => [[name, value]])
      : fc
          .tuple(fc.nat(3), valueFor(held))
          .map(([keep, value]): [string, unknown][] => (keep > 0 ? [] : [[name, value]])),
  );
  return fc.tuple(...fields).map((parts) => Object.fromEntries(parts.flat()));
}

function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => snakeCased(one));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, held]) => [
      /^[A-Z]/.test(key) ? key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase() : key,
      snakeCased(held),
    ]),
  );
}

function parsed(input: unknown): ReturnType<typeof parseConfigEntry> | null {
  try {
    return parseConfigEntry(input);
  } catch (error) {
    assert.ok(error instanceof Fault && error.field !== undefined, String(error));
    return null;
  }
}

const emptyMesh = {
  trustDomain: 'flock.test',
  domain: 'mesh',
  host: 'a'.repeat(64),
  datacenter: 'dc1',
  zone: '',
  roundTrips: [],
  defaultIntention: 'deny',
  inbound: { address: '127.0.0.1', port: 21000 },
  outbound: null,
  services: [],
  local: [],
  callers: [],
  identities: [],
  roots: [],
  denied: { hosts: [], serials: [] },
} as const;

for (const kind of supportedKinds)
  test(`a ${kind} is refused with a field, or read as what it says in either spelling and compiled`, () => {
    let accepted = 0;
    fc.assert(
      fc.property(valueFor(formOf(kind)!.schema), (input) => {
        const read = parsed(input);
        if (read === null) return;
        accepted++;
        assert.deepEqual(parseConfigEntry(read.entry), read, 'the normal form is read as itself');
        assert.deepEqual(parseConfigEntry(snakeCased(input)), read);
        const store = rawStoreOf(read.entry);
        const policy = policyViewOf(store);
        const isRead =
          policy.proxyDefaults !== null ||
          [policy.defaults, policy.routers, policy.splitters, policy.resolvers].some(
            (list) => list.length > 0,
          );
        assert.equal(isRead, kind !== 'mesh' && kind !== 'service-intentions');
        compile({ ...emptyMesh, policy, intentions: intentionsOf(store.list('service-intentions')) });
      }),
      { numRuns: 200 },
    );
    assert.ok(accepted > 0, 'some say nothing that contradicts itself');
  });
