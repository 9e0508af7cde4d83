import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spelledAs } from '../../../../src/agent/consul/fields.ts';

test('a path is given back as its writer spelled it, and as it is where nothing was written', () => {
  const snake = { routes: [{}, { destination: { service_subset: 'v1' } }] };
  assert.equal(
    spelledAs(snake, 'Routes[1].Destination.ServiceSubset'),
    'routes[1].destination.service_subset',
  );
  assert.equal(spelledAs(snake, 'Routes[1].Match.HTTP'), 'routes[1].Match.HTTP');
  assert.equal(spelledAs({ Failover: { '*': {} } }, 'Failover.*.Targets[0]'), 'Failover.*.Targets[0]');
  assert.equal(spelledAs(null, 'Name'), 'Name');
});
