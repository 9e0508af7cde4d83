import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Caller, type Demand, refusalOf, refusalOfReplacement } from '../../../src/agent/access.ts';
import { definitionOf } from '../../support/agent.ts';

const agentUid = 900;
const owned = definitionOf({ name: 'api', user: 'api', uid: 1000 });
const ownerless = definitionOf({ name: 'web' });

const callers: { readonly [name: string]: Caller } = {
  root: { type: 'local', uid: 0 },
  agent: { type: 'local', uid: agentUid },
  owner: { type: 'local', uid: 1000 },
  other: { type: 'local', uid: 1001 },
  unknown: { type: 'local', uid: null },
  unix: { type: 'unix' },
  remote: { type: 'remote' },
};

const demands: { readonly [name: string]: Demand } = {
  read: { type: 'read' },
  host: { type: 'host' },
  owned: { type: 'service', service: owned },
  ownerless: { type: 'service', service: ownerless },
  absent: { type: 'service', service: undefined },
  mesh: { type: 'mesh' },
};

/** Who may what without a token: everything not listed is refused. */
const allowed: { readonly [caller: string]: readonly string[] } = {
  root: ['read', 'host', 'owned', 'ownerless', 'absent'],
  agent: ['read', 'host', 'owned', 'ownerless', 'absent'],
  unix: ['read', 'host', 'owned', 'ownerless', 'absent'],
  owner: ['read', 'owned'],
  other: ['read'],
  unknown: ['read'],
  remote: [],
};

test('root, the agent and its socket change the host; a service its own user; the rest read', () => {
  for (const [who, caller] of Object.entries(callers))
    for (const [what, demand] of Object.entries(demands)) {
      const refusal = refusalOf(caller, demand, { agentUid, operator: false });
      assert.equal(refusal === null, allowed[who]!.includes(what), `${who} ${what}`);
    }
});

test('a key is read by those who may be the service, on its host, and no token opens it', () => {
  const demand: Demand = { type: 'key', services: [ownerless, owned] };
  for (const operator of [false, true])
    for (const [who, caller] of Object.entries(callers)) {
      const refusal = refusalOf(caller, demand, { agentUid, operator });
      assert.equal(refusal === null, ['root', 'agent', 'unix', 'owner'].includes(who), who);
    }
  const nobodys: Demand = { type: 'key', services: [ownerless] };
  assert.notEqual(refusalOf(callers.unknown!, nobodys, { agentUid, operator: false }), null);
});

test('an operator may everything from everywhere', () => {
  for (const caller of Object.values(callers))
    for (const demand of Object.values(demands))
      assert.equal(refusalOf(caller, demand, { agentUid, operator: true }), null);
});

test('an agent that cannot know its own uid does not take an unknown caller for itself', () => {
  assert.notEqual(refusalOf(callers.unknown!, demands.host!, { agentUid: -1, operator: false }), null);
});

test("a service's user may change its definition but not what it is, whose it is, or bind low ports", () => {
  const authority = { agentUid, operator: false };
  const change = (after: typeof owned) => refusalOfReplacement(callers.owner!, authority, owned, after);
  assert.equal(change({ ...owned, port: 9000 }), null);
  assert.equal(change({ ...owned, name: 'payments' })?.field, 'Name');
  assert.equal(change({ ...owned, uid: 1001 })?.field, 'User');
  assert.equal(change({ ...owned, uid: null, user: '' })?.field, 'User');
  const upstream = { destination: 'db', bindAddress: '127.0.0.1', bindPort: 80, datacenter: '' };
  assert.match(change({ ...owned, upstreams: [upstream] })?.message ?? '', /1024/);
  assert.equal(change({ ...owned, upstreams: [{ ...upstream, bindPort: 5432 }] }), null);
  assert.notEqual(refusalOfReplacement(callers.owner!, authority, undefined, owned), null, 'a new service');
  assert.equal(refusalOfReplacement(callers.root!, authority, undefined, { ...owned, name: 'x' }), null);
});
