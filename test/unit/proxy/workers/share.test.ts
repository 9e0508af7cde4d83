/** Which limits get memory that threads share, and what becomes of those that get none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallerPolicy, ProxyConfig } from '../../../../src/proxy/config.ts';
import type { BreakerPolicy, RateLimitsPolicy, UpstreamLimits } from '../../../../src/proxy/policy.ts';
import { defaultUpstream, noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import { groupMemory, inboundKey, outboundKey, ratesKey } from '../../../../src/proxy/workers/memory.ts';
import { LimitSharing } from '../../../../src/proxy/workers/share.ts';
import { cluster, emptyConfig, inboundService, withClusters } from '../../../support/mesh.ts';

const limits: UpstreamLimits = { maxConnections: 5, maxPendingRequests: 0, maxConcurrentRequests: 1 };
const rateLimits: RateLimitsPolicy = {
  instance: { requestsPerSecond: 100, burst: 1 },
  routes: [],
  callers: [],
};

/** Limits what it has under way to one destination, or to every one. */
function caller(service: string, override: string | null = null): CallerPolicy {
  const limited = { ...defaultUpstream, limits };
  const plain = { service, outbound: noTimeouts, upstreams: defaultUpstream, overrides: [], zones: [] };
  return override === null
    ? { ...plain, upstreams: limited }
    : { ...plain, overrides: [{ ...limited, destination: override }] };
}

function config(callers: readonly CallerPolicy[]): ProxyConfig {
  const base = withClusters(emptyConfig(), [cluster('db', [1]), cluster('cache', [2])]);
  const services = [
    inboundService('api', [3], { maxConnections: 10, rateLimits }),
    inboundService('api', [3], { maxConnections: 10, rateLimits, subset: 'v2', sni: 'v2' }),
    inboundService('free', [4]),
  ];
  return { ...base, inbound: { ...base.inbound, services }, callers };
}

test('one thread has nothing to share', () => {
  const alone = config([caller('web')]);
  assert.equal(new LimitSharing(1).share(alone), alone);
});

test('every limit has memory of its own and stays as it is written, what is without limit has none', () => {
  const shared = new LimitSharing(3).share(config([caller('web'), caller('job', 'db'), caller('idle', 'x')]));
  const keys = [
    ...[inboundKey('api'), ratesKey('api'), outboundKey('web', 'db'), outboundKey('web', 'cache')],
    outboundKey('job', 'db'),
  ];
  assert.deepEqual([...shared.shared!.keys()].sort(), keys.sort());
  assert.equal(new Set([...shared.shared!.values()].map(({ id }) => id)).size, keys.length);
  assert.equal(shared.inbound.services[0]!.maxConnections, 10);
  assert.deepEqual(shared.callers[0]!.upstreams.limits, limits);
});

test('a limit keeps its memory while it is there, and gets other memory when it comes back', () => {
  const sharing = new LimitSharing(2);
  const memory = (next: ProxyConfig) => sharing.share(next).shared!.get(outboundKey('web', 'db'));
  const first = memory(config([caller('web')]));
  assert.equal(memory(config([caller('web'), caller('job')])), first);
  assert.equal(memory(config([])), undefined);
  assert.notEqual(memory(config([caller('web')]))!.id, first!.id);
});

test('a circuit breaker has memory as long as its policy is the same, and begins anew with another', () => {
  const sharing = new LimitSharing(2);
  const breaker = { errorPercent: 50, minimumRequests: 4, windowMs: 1000, openMs: 300, halfOpenRequests: 2 };
  const memory = (policy: BreakerPolicy) => {
    const web = { ...caller('web'), upstreams: { ...defaultUpstream, breaker: policy } };
    return groupMemory(sharing.share(config([web])).shared!, 'web', 'db', { ...policy });
  };
  const first = memory(breaker);
  assert.equal(first.limits, null);
  assert.equal(memory({ ...breaker }).breaker, first.breaker);
  const second = memory({ ...breaker, openMs: 5 }).breaker;
  assert.notEqual(second!.id, first.breaker!.id);
});

test('rates get larger memory once they have outgrown theirs', () => {
  const sharing = new LimitSharing(2);
  const base = config([]);
  const memory = (routes: number) => {
    const path = { type: 'prefix', value: '/', ignoreCase: false } as const;
    const more = {
      ...rateLimits,
      routes: new Array(routes).fill({ path, requestsPerSecond: 1, burst: 1 }),
    };
    const services = base.inbound.services.map((each) => ({ ...each, rateLimits: more }));
    return sharing.share({ ...base, inbound: { ...base.inbound, services } }).shared!.get(ratesKey('api'))!;
  };
  const small = memory(1);
  assert.equal(memory(0), small);
  assert.ok(memory(100).buffer.byteLength > small.buffer.byteLength);
});

test('what finds no memory is divided, rounded up, and told of; nothing is shared in part', () => {
  const sharing = new LimitSharing(4, 3);
  const shared = sharing.share(config([caller('job', 'db'), caller('web')]));
  assert.equal(sharing.divided, 1);
  assert.deepEqual(shared.callers[1]!.upstreams.limits, {
    ...{ maxConnections: 2, maxPendingRequests: 0, maxConcurrentRequests: 1 },
  });
  assert.deepEqual(shared.callers[0]!.overrides[0]!.limits, limits);
  assert.equal(shared.shared!.has(outboundKey('web', 'db')), false);

  const none = new LimitSharing(4, 1).share(config([]));
  const [api, v2, free] = none.inbound.services;
  assert.equal(api!.maxConnections, 3);
  assert.deepEqual(api!.rateLimits!.instance, { requestsPerSecond: 25, burst: 1 });
  assert.deepEqual(v2!.rateLimits, api!.rateLimits);
  assert.equal(free!.maxConnections, 0);
});
