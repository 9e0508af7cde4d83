import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProblems } from '../../../../src/proxy/compile/check.ts';
import type { PolicyView } from '../../../../src/proxy/policy.ts';
import type { Protocol } from '../../../../src/proxy/view.ts';
import {
  policyView,
  resolver,
  route,
  router,
  serviceDefaults,
  splitter,
  target,
  version,
} from '../policies.ts';

function problems(fields: Partial<PolicyView>, protocols: { [service: string]: Protocol } = {}): string[] {
  return findProblems(policyView(fields), new Map(Object.entries(protocols))).map(
    ({ rule, field, message }) => `${rule} ${field}: ${message}`,
  );
}

const versions = resolver('api', { subsets: [version('v1'), version('v2')] });

test('policy whose references all lead somewhere has no problem', () => {
  assert.deepEqual(
    problems({
      defaults: [serviceDefaults('api', { protocol: 'http' }), serviceDefaults('db', { protocol: 'grpc' })],
      routers: [
        router('api', route({ subset: 'v2', mirror: { service: 'db', subset: '', percent: 5 } })),
        router('web', route({ redirect: { status: 301, host: 'x', path: '', scheme: '' } })),
      ],
      splitters: [
        splitter('api', { percent: 90, subset: 'v1' }, { percent: 10, service: 'next' }),
        splitter('next', { percent: 50 }, { percent: 50, service: 'other' }),
      ],
      resolvers: [
        versions,
        resolver('db', { redirect: target('', '', 'dc2') }),
        resolver('old', { redirect: target('older') }),
        resolver('older', { redirect: target('api', 'v1') }),
        resolver('cache', {
          failover: [{ subset: '*', targets: [target('api', 'v2'), target('', '', 'dc2')] }],
        }),
      ],
    }),
    [],
  );
});

test('every reference to a subset that is not there is reported where it stands', () => {
  assert.deepEqual(
    problems({
      routers: [
        router(
          'web',
          route({ service: 'api', subset: 'v1' }),
          route({ service: 'api', subset: 'v8', mirror: { service: 'api', subset: 'v9', percent: 1 } }),
        ),
      ],
      splitters: [splitter('api', { percent: 100, subset: 'v9' })],
      resolvers: [
        versions,
        resolver('db', { defaultSubset: 'v7' }),
        resolver('old', { redirect: target('api', 'v6') }),
        resolver('job', {
          failover: [
            { subset: '', targets: [target('db2'), target('api', 'v5')] },
            { subset: 'v4', targets: [target('db2')] },
          ],
        }),
      ],
    }),
    [
      'service-resolver/db DefaultSubset: "db" has no subset "v7"',
      'service-resolver/job Failover..Targets[1].ServiceSubset: "api" has no subset "v5"',
      'service-resolver/job Failover.v4: "job" has no subset "v4"',
      'service-resolver/old Redirect.ServiceSubset: "api" has no subset "v6"',
      'service-router/web Routes[1].Destination.Mirror.ServiceSubset: "api" has no subset "v9"',
      'service-router/web Routes[1].Destination.ServiceSubset: "api" has no subset "v8"',
      'service-splitter/api Splits[0].ServiceSubset: "api" has no subset "v9"',
    ],
  );
});

test('a wrong default subset is blamed once, and not on those who name the service', () => {
  assert.deepEqual(
    problems({
      routers: [router('web', route({ service: 'db' }))],
      resolvers: [resolver('db', { defaultSubset: 'v7' }), resolver('old', { redirect: target('db') })],
    }),
    ['service-resolver/db DefaultSubset: "db" has no subset "v7"'],
  );
});

test('circles of redirects and of splitters are blamed on each entry that is part of one', () => {
  assert.deepEqual(
    problems({
      splitters: [
        splitter('s1', { percent: 50 }, { percent: 50, service: 's2' }),
        splitter('s2', { percent: 100, service: 's3' }),
        splitter('s3', { percent: 50, service: 's1' }, { percent: 50, service: 'end' }),
        splitter('outside', { percent: 100, service: 's1' }),
      ],
      resolvers: [
        resolver('a', { redirect: target('b') }),
        resolver('b', { redirect: target('a') }),
        resolver('c', { redirect: target('a') }),
      ],
    }),
    [
      'service-resolver/a Redirect: redirects must not form a circle: a -> b -> a',
      'service-resolver/b Redirect: redirects must not form a circle: b -> a -> b',
      'service-splitter/s1 Splits[1].Service: "s2" is split into "s1" again: splitters must not form a circle',
      'service-splitter/s2 Splits[0].Service: "s3" is split into "s2" again: splitters must not form a circle',
      'service-splitter/s3 Splits[0].Service: "s1" is split into "s3" again: splitters must not form a circle',
    ],
  );
});

test('a redirect to another datacenter or subset of the same service is no circle', () => {
  const here = resolver('api', { redirect: target('api', 'v1', 'dc2'), subsets: [version('v1')] });
  assert.deepEqual(problems({ resolvers: [here, resolver('self', { redirect: target('self') })] }), []);
});

test('routers and splitters of a byte stream, and what mixes streams and requests, are reported', () => {
  const routers = [router('api', route({}))];
  const splitters = [splitter('api', { percent: 100, service: 'db' })];
  assert.deepEqual(
    problems({ routers, splitters, defaults: [serviceDefaults('api', { protocol: 'tcp' })] }),
    [
      'service-router/api Name: cannot route by requests: the protocol of "api" is tcp',
      'service-splitter/api Name: cannot split requests: the protocol of "api" is tcp',
    ],
  );
  assert.deepEqual(problems({ splitters }, { api: 'http', db: 'tcp' }), [
    'service-splitter/api Splits[0].Service: leads from "api", whose protocol is http, to "db", whose protocol is tcp',
  ]);
  assert.deepEqual(problems({ splitters }, { api: 'http', db: 'grpc' }), []);
});

test('weights that do not add up, filters that are none and failover to itself are reported', () => {
  assert.deepEqual(
    problems({
      splitters: [splitter('api', { percent: 50 }, { percent: 49.99, service: 'db' })],
      resolvers: [
        resolver('db', {
          subsets: [version('v1', { filter: 'Service.Mta.version == v1' })],
          failover: [{ subset: 'v1', targets: [target('', 'v1')] }],
        }),
      ],
    }),
    [
      'service-resolver/db Failover.v1.Targets[0].Service: fails over to itself',
      'service-resolver/db Subsets.v1.Filter: Selector "Service.Mta.version" is not valid',
      'service-splitter/api Splits: the weights must add up to 100, not to 99.99',
    ],
  );
});
