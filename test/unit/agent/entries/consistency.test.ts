import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseInconsistency } from '../../../../src/agent/entries/consistency.ts';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import type { PolicyStore } from '../../../../src/agent/port.ts';
import { Fault } from '../../../../src/core.ts';
import { storeOf } from '../../../support/policy.ts';

const resolver = { Kind: 'service-resolver', Name: 'api', Subsets: { v2: { OnlyPassing: true } } };
const router = {
  Kind: 'service-router',
  Name: 'api',
  Routes: [{ Match: { HTTP: { PathPrefix: '/2/' } }, Destination: { ServiceSubset: 'v2' } }],
};

function write(store: PolicyStore, input: object): string {
  return outcome(() => refuseInconsistency(store, [parseConfigEntry(input)]));
}

function outcome(change: () => void): string {
  try {
    change();
    return 'done';
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'inconsistent', String(error));
    return `${error.field ?? 'another:'} ${error.message}`;
  }
}

test('a reference to a subset that nobody defines is refused where it stands', () => {
  assert.match(write(storeOf(), router), /^Routes\[0\]\.Destination\.ServiceSubset .*no subset "v2"/);
  assert.equal(write(storeOf(resolver), router), 'done');
});

test('what others refer to can neither be deleted nor lose what they name', () => {
  const store = storeOf(resolver, router);
  const gone = outcome(() =>
    refuseInconsistency(store, [{ kind: 'service-resolver', name: 'api', entry: null }]),
  );
  assert.match(gone, /^another: service-router\/api would be broken: Routes\[0\]/);
  assert.match(
    write(store, { ...resolver, Subsets: { v3: {} } }),
    /^another: service-router\/api would be broken/,
  );
  assert.equal(write(store, { ...resolver, ConnectTimeout: '1s' }), 'done');
});

test('redirects in a circle are refused by the one that closes it', () => {
  const redirect = (Name: string, Service: string) => ({
    Kind: 'service-resolver',
    Name,
    Redirect: { Service },
  });
  const store = storeOf(redirect('a', 'b'), redirect('b', 'c'));
  assert.equal(write(store, redirect('c', 'd')), 'done');
  assert.match(write(store, redirect('c', 'a')), /^Redirect .*circle/);
});

test('a problem that two operators made in two places keeps nobody from writing something else', () => {
  const store = storeOf(router);
  assert.equal(write(store, { Kind: 'service-defaults', Name: 'db', Protocol: 'tcp' }), 'done');
  assert.equal(write(store, resolver), 'done');
});

test('permissions and a protocol without requests exclude each other, whichever comes first', () => {
  const permissions = [{ Action: 'allow', HTTP: { PathPrefix: '/' } }];
  const intentions = {
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Permissions: permissions }],
  };
  const tcp = { Kind: 'service-defaults', Name: 'api', Protocol: 'tcp' };
  assert.match(write(storeOf(tcp), intentions), /^Sources .*the protocol of "api" is tcp/);
  assert.match(write(storeOf(intentions), tcp), /^another: service-intentions\/api would be broken/);
});

test('entries that are written together are judged together', () => {
  const store = storeOf(resolver, router);
  const renamed = {
    ...router,
    Routes: [{ Match: { HTTP: { PathPrefix: '/2/' } }, Destination: { ServiceSubset: 'v3' } }],
  };
  const both = [{ ...resolver, Subsets: { v3: {} } }, renamed].map(parseConfigEntry);
  assert.equal(
    outcome(() => refuseInconsistency(store, both)),
    'done',
  );
  const dangling = [{ ...resolver, Subsets: { v4: {} } }, renamed].map(parseConfigEntry);
  assert.match(
    outcome(() => refuseInconsistency(store, dangling)),
    /^\[1\]\.Routes\[0\]\.Destination\.ServiceSubset /,
  );
});
