import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intentionsOf, parseConfigEntry } from '../../../src/agent/entries.ts';
import {
  checkIntention,
  exactIntention,
  listIntentions,
  matchIntentions,
  parseIntention,
  removeIntention,
  upsertIntention,
} from '../../../src/agent/intentions.ts';
import type { PolicyStore, StoredEntry } from '../../../src/agent/port.ts';
import { Fault } from '../../../src/core.ts';

function refused(parse: () => unknown, code: string, field?: string): Fault {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.code, code, error.message);
    if (field !== undefined) assert.equal(error.field, field);
    return error;
  }
  assert.fail(`accepted, not refused with ${code}`);
}

function stored(entry: StoredEntry['entry']): StoredEntry {
  return {
    kind: entry.Kind as string,
    name: entry.Name as string,
    entry,
    author: 'aa',
    hlc: Date.UTC(2026, 0, 2) * 1024,
    createIndex: 7,
    modifyIndex: 9,
  };
}

/** A store with the given entries, each as an operator would have written it. */
function policyOf(...inputs: object[]): PolicyStore {
  return rawPolicyOf(...inputs.map((input) => parseConfigEntry(input).entry));
}

function rawPolicyOf(...entries: StoredEntry['entry'][]): PolicyStore {
  const all = entries.map(stored);
  return {
    get: (kind, name) => all.find((one) => one.kind === kind && one.name === name),
    list: (kind) => all.filter((one) => one.kind === kind),
  };
}

const apiEntry = {
  Kind: 'service-intentions',
  Name: 'api',
  Sources: [
    { Name: '*', Action: 'deny' },
    { Name: 'web', Action: 'allow', Description: 'the shop' },
  ],
};

test('service-intentions are completed and sorted by precedence', () => {
  assert.deepEqual(parseConfigEntry({ ...apiEntry, Meta: { team: 'a' } }), {
    kind: 'service-intentions',
    name: 'api',
    entry: {
      Kind: 'service-intentions',
      Name: 'api',
      Sources: [
        { Name: 'web', Action: 'allow', Precedence: 9, Type: 'consul', Description: 'the shop' },
        { Name: '*', Action: 'deny', Precedence: 8, Type: 'consul' },
      ],
      Meta: { team: 'a' },
    },
  });
});

test('snake_case means the same, and what was read can be written back', () => {
  const snake = {
    kind: 'service-intentions',
    name: 'api',
    sources: [
      { name: '*', action: 'deny' },
      { name: 'web', action: 'allow', description: 'the shop' },
    ],
  };
  const parsed = parseConfigEntry(snake);
  assert.deepEqual(parsed, parseConfigEntry(apiEntry));
  assert.deepEqual(parseConfigEntry({ ...parsed.entry, CreateIndex: 3, ModifyIndex: 4 }), parsed);
});

test('service-defaults know the protocol only, and auto is the default', () => {
  const kind = 'service-defaults';
  assert.deepEqual(parseConfigEntry({ kind, name: 'api' }).entry, {
    Kind: kind,
    Name: 'api',
    Protocol: 'auto',
  });
  assert.equal(
    parseConfigEntry({ kind, name: 'api', protocol: 'HTTP' }).entry.Protocol,
    'HTTP'.toLowerCase(),
  );
});

const intentions = (fields: object) => ({ kind: 'service-intentions', name: 'api', ...fields });
const sources = (...list: object[]) => intentions({ sources: list });
const faults: readonly (readonly [why: string, input: unknown, code: string, field: string])[] = [
  ['no kind', {}, 'missing-field', 'Kind'],
  ['a kind to come', { Kind: 'service-router', Name: 'api' }, 'unsupported-kind', 'Kind'],
  ['a kind that is none', { Kind: 'constructor', Name: 'api' }, 'unsupported-kind', 'Kind'],
  ['a list', [], 'invalid-field', ''],
  ['no sources', intentions({}), 'missing-field', 'sources'],
  ['a source without action', sources({ name: 'web' }), 'missing-field', 'sources[0].action'],
  ['an action that is none', sources({ name: 'web', action: 'ask' }), 'invalid-field', 'sources[0].action'],
  ['a partial wildcard', sources({ name: 'web*', action: 'deny' }), 'invalid-field', 'sources[0].name'],
  [
    'a source twice',
    sources({ name: 'web', action: 'deny' }, { name: 'web', action: 'allow' }),
    'conflicting-fields',
    'sources[1]',
  ],
  [
    'permissions',
    sources({ name: 'web', permissions: [{ action: 'allow' }] }),
    'unsupported',
    'sources[0].permissions',
  ],
  ['a peer', sources({ name: 'web', action: 'deny', peer: 'x' }), 'unsupported', 'sources[0].peer'],
  ['JWT', intentions({ jwt: { providers: [{ name: 'x' }] } }), 'unsupported', 'jwt'],
  ['an unknown field', intentions({ sourcs: [] }), 'unknown-field', 'sourcs'],
  [
    'an unknown field of a source',
    sources({ name: 'web', action: 'deny', acton: 1 }),
    'unknown-field',
    'sources[0].acton',
  ],
  ['a destination that is none', { kind: 'service-intentions', name: 'A' }, 'invalid-field', 'name'],
  [
    'a protocol to come',
    { kind: 'service-defaults', name: 'api', protocol: 'grpc' },
    'unsupported',
    'protocol',
  ],
  [
    'a protocol that is none',
    { kind: 'service-defaults', name: 'api', protocol: 'udp' },
    'invalid-field',
    'protocol',
  ],
  [
    'limits to come',
    { kind: 'service-defaults', name: 'api', max_inbound_connections: 5 },
    'unsupported',
    'max_inbound_connections',
  ],
  ['defaults for every service', { kind: 'service-defaults', name: '*' }, 'invalid-field', 'name'],
];

for (const [why, input, code, field] of faults)
  test(`an entry with ${why} is refused with ${code}`, () => {
    const { message } = refused(() => parseConfigEntry(input), code, field);
    if (code === 'unsupported-kind') assert.match(message, /supported: service-defaults, service-intentions/);
  });

test('intentions go to the proxy with the entry that says so', () => {
  assert.deepEqual(intentionsOf(policyOf(apiEntry).list('service-intentions')), [
    { source: 'web', destination: 'api', action: 'allow', rule: 'service-intentions/api' },
    { source: '*', destination: 'api', action: 'deny', rule: 'service-intentions/api' },
  ]);
});

test('what a newer version wrote and this one cannot read denies', () => {
  const actionOf = (source: unknown) => {
    const entry = stored({ Kind: 'service-intentions', Name: 'api', Sources: [source] });
    return intentionsOf([entry]).map((view) => `${view.source} ${view.action}`);
  };
  assert.deepEqual(actionOf({ Name: 'web', Permissions: [{ Action: 'allow' }] }), ['web deny']);
  assert.deepEqual(actionOf({ Name: 'web', Action: 'allow', OnlyAt: 'night' }), ['web deny']);
  assert.deepEqual(actionOf({ Name: 7, Action: 'allow' }), ['* deny']);
  assert.deepEqual(actionOf('web'), ['* deny']);
  const without = stored({ Kind: 'service-intentions', Name: 'api', Sources: 'all' });
  assert.deepEqual(intentionsOf([without])[0]?.action, 'deny');
});

test('creating an intention adds a source to its entry, or replaces it', () => {
  const wish = { action: 'allow', description: '' } as const;
  const first = upsertIntention(policyOf(), 'job', 'api', wish);
  assert.deepEqual(first.entry.Sources, [{ Name: 'job', Action: 'allow', Precedence: 9, Type: 'consul' }]);
  const replaced = upsertIntention(policyOf(apiEntry), '*', 'api', wish);
  assert.deepEqual(
    (replaced.entry.Sources as { Name: string; Action: string }[]).map(({ Name, Action }) => [Name, Action]),
    [
      ['web', 'allow'],
      ['*', 'allow'],
    ],
  );
});

test('an entry of a newer version is not rewritten by adding to it', () => {
  const policy = rawPolicyOf({
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Permissions: [{ Action: 'allow' }] }],
  });
  refused(() => upsertIntention(policy, 'job', 'api', { action: 'allow', description: '' }), 'unsupported');
  assert.equal(listIntentions(policy)[0]!.Action, 'deny');
});

test('deleting the last source of an entry deletes the entry', () => {
  const left = removeIntention(policyOf(apiEntry), 'web', 'api');
  assert.deepEqual((left!.entry.Sources as object[]).length, 1);
  const single = policyOf({ ...apiEntry, Sources: [{ Name: 'web', Action: 'allow' }] });
  assert.equal(removeIntention(single, 'web', 'api'), null);
  refused(() => removeIntention(single, 'job', 'api'), 'unknown-intention');
  refused(() => removeIntention(single, 'web', 'db'), 'unknown-intention');
});

test('intentions are listed, matched and found in the JSON of Consul', () => {
  const any = {
    Kind: 'service-intentions',
    Name: '*',
    Sources: [
      { Name: 'web', Action: 'allow' },
      { Name: '*', Action: 'deny' },
    ],
  };
  const policy = policyOf(apiEntry, any);
  const short = (found: readonly { readonly [field: string]: unknown }[]) =>
    found.map(
      ({ SourceName, DestinationName, Precedence }) => `${SourceName}->${DestinationName} ${Precedence}`,
    );
  assert.deepEqual(short(listIntentions(policy)), ['web->api 9', '*->api 8', 'web->* 6', '*->* 5']);
  assert.deepEqual(short(matchIntentions(policy, 'destination', 'db')), ['web->* 6', '*->* 5']);
  assert.deepEqual(short(matchIntentions(policy, 'source', 'job')), ['*->api 8', '*->* 5']);
  assert.equal(exactIntention(policy, 'job', 'api'), null);
  assert.deepEqual(exactIntention(policy, 'web', 'api'), {
    ID: '',
    Description: 'the shop',
    SourceNS: 'default',
    SourceName: 'web',
    DestinationNS: 'default',
    DestinationName: 'api',
    SourceType: 'consul',
    Action: 'allow',
    Precedence: 9,
    CreatedAt: '0001-01-01T00:00:00Z',
    UpdatedAt: '2026-01-02T00:00:00.000Z',
    CreateIndex: 7,
    ModifyIndex: 9,
  });
});

test('a check says whether a pair may talk and which entry says so', () => {
  const policy = policyOf(apiEntry);
  assert.deepEqual(checkIntention(policy, 'deny', 'web', 'api'), {
    allowed: true,
    rule: 'service-intentions/api',
  });
  assert.deepEqual(checkIntention(policy, 'allow', 'job', 'api'), {
    allowed: false,
    rule: 'service-intentions/api',
  });
  assert.deepEqual(checkIntention(policy, 'allow', 'job', 'db'), { allowed: true, rule: null });
});

test('the body of an intention asks for an action and nothing that would be dropped', () => {
  assert.deepEqual(parseIntention({ Action: 'allow', SourceType: 'consul', Meta: {} }), {
    action: 'allow',
    description: '',
  });
  refused(() => parseIntention({}), 'missing-field', 'Action');
  refused(() => parseIntention({ Action: 'allow', Meta: { a: 'b' } }), 'unsupported', 'Meta');
  refused(() => parseIntention({ Permissions: [{}, { Action: 'allow' }] }), 'unsupported', 'Permissions');
});
