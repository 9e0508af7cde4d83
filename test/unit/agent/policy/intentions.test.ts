import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import { intentionsOf } from '../../../../src/agent/entries/service-intentions.ts';
import {
  checkIntention,
  exactIntention,
  listIntentions,
  matchIntentions,
  parseIntention,
  removeIntention,
  upsertIntention,
} from '../../../../src/agent/policy/intentions.ts';
import { Fault } from '../../../../src/core.ts';
import { rawStoreOf, storedEntry, storeOf } from '../../../support/policy.ts';

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

test('intentions go to the proxy with the entry that says so', () => {
  assert.deepEqual(intentionsOf(storeOf(apiEntry).list('service-intentions')), [
    { source: 'web', destination: 'api', action: 'allow', permissions: null, rule: 'service-intentions/api' },
    { source: '*', destination: 'api', action: 'deny', permissions: null, rule: 'service-intentions/api' },
  ]);
});

test('what a newer version wrote and this one cannot read denies', () => {
  const actionOf = (source: unknown) => {
    const entry = storedEntry({ Kind: 'service-intentions', Name: 'api', Sources: [source] });
    return intentionsOf([entry]).map((view) => `${view.source} ${view.action}`);
  };
  assert.deepEqual(actionOf({ Name: 'web', Permissions: [{ Action: 'allow' }] }), ['web deny']);
  assert.deepEqual(actionOf({ Name: 'web', Action: 'allow', OnlyAt: 'night' }), ['web deny']);
  assert.deepEqual(actionOf({ Name: 7, Action: 'allow' }), ['* deny']);
  assert.deepEqual(actionOf('web'), ['* deny']);
  const allowed = { Name: 'web', Action: 'allow' };
  const http = { PathPrefix: '/', Weather: 'fair' };
  assert.deepEqual(actionOf({ Name: 'web', Permissions: [{ Action: 'allow', HTTP: http }] }), ['web deny']);
  const wholeOf = (entry: object) =>
    intentionsOf([storedEntry({ Kind: 'service-intentions', Name: 'api', ...entry })]).map(
      (view) => `${view.source} ${view.action}`,
    );
  assert.deepEqual(wholeOf({ Sources: 'all' }), ['* deny']);
  // A caller nobody can read may be any caller, and a field beside the sources may narrow them all.
  assert.deepEqual(wholeOf({ Sources: [allowed, { Names: ['web'], Action: 'deny' }] }), ['* deny']);
  assert.deepEqual(wholeOf({ Sources: [allowed], OnlyAt: 'night' }), ['* deny']);
  assert.deepEqual(wholeOf({ Sources: [allowed, { Name: 'job', Action: 'maybe' }] }), [
    'web allow',
    'job deny',
  ]);
});

test('creating an intention adds a source to its entry, or replaces it', () => {
  const wish = { Action: 'allow' } as const;
  const first = upsertIntention(storeOf(), 'job', 'api', wish);
  assert.deepEqual(first.entry.Sources, [{ Name: 'job', Action: 'allow', Precedence: 9, Type: 'consul' }]);
  const replaced = upsertIntention(storeOf(apiEntry), '*', 'api', wish);
  assert.deepEqual(
    (replaced.entry.Sources as { Name: string; Action: string }[]).map(({ Name, Action }) => [Name, Action]),
    [
      ['web', 'allow'],
      ['*', 'allow'],
    ],
  );
});

test('an entry of a newer version is not rewritten by adding to it', () => {
  const policy = rawStoreOf({
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Action: 'allow', OnlyAt: 'night' }],
  });
  refused(() => upsertIntention(policy, 'job', 'api', { Action: 'allow' }), 'unknown-field');
  assert.equal(listIntentions(policy)[0]!.Action, 'deny');
});

test('deleting the last source of an entry deletes the entry', () => {
  const left = removeIntention(storeOf(apiEntry), 'web', 'api');
  assert.deepEqual((left!.entry.Sources as object[]).length, 1);
  const single = storeOf({ ...apiEntry, Sources: [{ Name: 'web', Action: 'allow' }] });
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
  const policy = storeOf(apiEntry, any);
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
  const policy = storeOf(apiEntry);
  assert.deepEqual(checkIntention(policy, 'deny', 'web', 'api'), {
    allowed: true,
    rule: 'service-intentions/api',
    byRequest: false,
  });
  assert.deepEqual(checkIntention(policy, 'allow', 'job', 'api'), {
    allowed: false,
    rule: 'service-intentions/api',
    byRequest: false,
  });
  assert.deepEqual(checkIntention(policy, 'allow', 'job', 'db'), {
    allowed: true,
    rule: null,
    byRequest: false,
  });
});

const readOnly = [
  { Action: 'deny', HTTP: { PathExact: '/secret' } },
  { Action: 'allow', HTTP: { PathPrefix: '/', Methods: ['get'], Header: [{ Name: 'X-Team', Exact: 'a' }] } },
];

test('permissions go to the proxy as conditions, and deny what matches none of them', () => {
  const entry = {
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Permissions: readOnly }],
  };
  const [view] = intentionsOf(storeOf(entry).list('service-intentions'));
  assert.equal(view?.action, 'deny');
  assert.deepEqual(view?.permissions, [
    {
      action: 'deny',
      match: {
        path: { type: 'exact', value: '/secret', ignoreCase: false },
        headers: [],
        query: [],
        methods: [],
      },
    },
    {
      action: 'allow',
      match: {
        path: { type: 'prefix', value: '/', ignoreCase: false },
        headers: [{ name: 'x-team', type: 'exact', value: 'a', ignoreCase: false, invert: false }],
        query: [],
        methods: ['GET'],
      },
    },
  ]);
});

test('an intention with permissions is written, listed and replaced by one with an action', () => {
  const wish = parseIntention({ Permissions: readOnly, Description: 'reads' });
  const policy = storeOf(upsertIntention(storeOf(apiEntry), 'web', 'api', wish).entry);
  const found = exactIntention(policy, 'web', 'api');
  assert.equal(found?.Action, undefined);
  assert.equal((found!.Permissions as object[]).length, 2);
  // What was read can be written back.
  const again = upsertIntention(policy, 'web', 'api', parseIntention(found));
  assert.deepEqual(again.entry, policy.get('service-intentions', 'api')?.entry);
  const replaced = upsertIntention(policy, 'web', 'api', parseIntention({ Action: 'allow' }));
  assert.deepEqual((replaced.entry.Sources as object[])[0], {
    Name: 'web',
    Action: 'allow',
    Precedence: 9,
    Type: 'consul',
  });
});

test('the body of an intention asks for an action and nothing that would be dropped', () => {
  assert.deepEqual(parseIntention({ Action: 'allow', SourceType: 'consul', Meta: {} }), { Action: 'allow' });
  refused(() => parseIntention({}), 'missing-field', 'Action');
  refused(() => parseIntention({ Action: 'allow', Meta: { a: 'b' } }), 'unsupported', 'Meta');
  refused(() => parseIntention({ Action: 'deny', Permissions: readOnly }), 'conflicting-fields', 'Action');
  refused(
    () => parseIntention({ Permissions: [{ Action: 'allow' }] }),
    'missing-field',
    'Permissions[0].HTTP',
  );
});
