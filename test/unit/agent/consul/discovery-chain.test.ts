import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChainOverrides, noOverrides } from '../../../../src/agent/consul/chain-overrides.ts';
import { discoveryChain } from '../../../../src/agent/consul/discovery-chain.ts';
import { rawStoreOf, storeOf } from '../../../support/policy.ts';

interface Chain {
  readonly [field: string]: unknown;
  readonly StartNode: string;
  readonly Nodes: { readonly [key: string]: Node };
  readonly Targets: { readonly [id: string]: unknown };
}
interface Node {
  readonly Routes?: readonly { readonly NextNode: string; readonly Definition: unknown }[];
  readonly Splits?: readonly { readonly NextNode: string; readonly Weight: number }[];
  readonly Resolver?: {
    readonly Target: string;
    readonly Failover?: { readonly Targets: readonly string[] };
  };
}

function chainOf(service: string, store = storeOf(), overrides: Partial<ChainOverrides> = {}): Chain {
  return discoveryChain(store, {
    service,
    overrides: { ...noOverrides, ...overrides },
    datacenter: 'dc1',
    trustDomain: 'mesh.example',
  }) as unknown as Chain;
}

const versions = {
  Kind: 'service-resolver',
  Name: 'api',
  ConnectTimeout: '15s',
  RequestTimeout: '2s',
  DefaultSubset: 'v1',
  Subsets: {
    v1: { Filter: 'Service.Meta.version == v1' },
    v2: { Filter: 'Service.Meta.version == v2', OnlyPassing: true },
  },
  Failover: { v1: { Datacenters: ['dc2'] } },
};

test('a service that policy does not know has the chain that Consul gives it', () => {
  assert.deepEqual(chainOf('web'), {
    ServiceName: 'web',
    Namespace: 'default',
    Partition: 'default',
    Datacenter: 'dc1',
    Default: true,
    Protocol: 'auto',
    StartNode: 'resolver:web.default.default.dc1',
    Nodes: {
      'resolver:web.default.default.dc1': {
        Type: 'resolver',
        Name: 'web.default.default.dc1',
        Resolver: { Default: true, ConnectTimeout: '5s', Target: 'web.default.default.dc1' },
      },
    },
    Targets: {
      'web.default.default.dc1': {
        ID: 'web.default.default.dc1',
        Service: 'web',
        Namespace: 'default',
        Partition: 'default',
        Datacenter: 'dc1',
        MeshGateway: {},
        Subset: {},
        ConnectTimeout: '5s',
        SNI: 'web.default.dc1.internal.mesh.example',
        Name: 'web.default.dc1.internal.mesh.example',
      },
    },
  });
});

test('subsets, their default, timeouts and failover stand in the resolver and its targets', () => {
  const chain = chainOf('api', storeOf(versions));
  assert.equal(chain.Default, undefined);
  assert.equal(chain.StartNode, 'resolver:v1.api.default.default.dc1');
  assert.deepEqual(chain.Nodes[chain.StartNode]?.Resolver, {
    ConnectTimeout: '15s',
    RequestTimeout: 2_000_000_000,
    Target: 'v1.api.default.default.dc1',
    Failover: { Targets: ['v1.api.default.default.dc2'] },
  });
  assert.deepEqual(chain.Targets['v1.api.default.default.dc2'], {
    ID: 'v1.api.default.default.dc2',
    Service: 'api',
    ServiceSubset: 'v1',
    Namespace: 'default',
    Partition: 'default',
    Datacenter: 'dc2',
    MeshGateway: {},
    Subset: { Filter: 'Service.Meta.version == v1' },
    ConnectTimeout: '15s',
    SNI: 'v1.api.default.dc2.internal.mesh.example',
    Name: 'v1.api.default.dc2.internal.mesh.example',
  });
});

test('a router leads to splitters, one within the other drawn as one, and these to resolvers', () => {
  const chain = chainOf(
    'web',
    storeOf(
      { Kind: 'service-defaults', Name: 'web', Protocol: 'http', Meta: { team: 'x' } },
      {
        Kind: 'service-router',
        Name: 'web',
        Routes: [
          { Match: { HTTP: { PathPrefix: '/api' } }, Destination: { Service: 'api', ServiceSubset: 'v2' } },
        ],
      },
      { Kind: 'service-splitter', Name: 'web', Splits: [{ Weight: 90 }, { Weight: 10, Service: 'next' }] },
      {
        Kind: 'service-splitter',
        Name: 'next',
        Splits: [{ Weight: 50 }, { Weight: 50, Service: 'api', ServiceSubset: 'v2' }],
      },
      versions,
    ),
  );
  assert.equal(chain.Protocol, 'http');
  assert.deepEqual(chain.ServiceMeta, { team: 'x' });
  assert.equal(chain.StartNode, 'router:web.default.default');
  const [first, last] = chain.Nodes[chain.StartNode]!.Routes!;
  assert.equal(first!.NextNode, 'resolver:v2.api.default.default.dc1');
  assert.deepEqual(first!.Definition, {
    Match: { HTTP: { PathPrefix: '/api' } },
    Destination: { Service: 'api', ServiceSubset: 'v2' },
  });
  assert.equal(last!.NextNode, 'splitter:web.default.default');
  assert.deepEqual(
    chain.Nodes['splitter:web.default.default']!.Splits!.map(({ Weight, NextNode }) => [Weight, NextNode]),
    [
      [90, 'resolver:web.default.default.dc1'],
      [5, 'resolver:next.default.default.dc1'],
      [5, 'resolver:v2.api.default.default.dc1'],
    ],
  );
  assert.equal(chain.Nodes['splitter:next.default.default'], undefined);
});

test('every node and target that a chain names is in it', () => {
  const { StartNode, Nodes, Targets } = chainOf('api', storeOf(versions));
  const named = [StartNode];
  for (const { Routes = [], Splits = [], Resolver } of Object.values(Nodes)) {
    named.push(...[...Routes, ...Splits].map(({ NextNode }) => NextNode));
    for (const id of Resolver === undefined ? [] : [Resolver.Target, ...(Resolver.Failover?.Targets ?? [])])
      assert.ok(Object.hasOwn(Targets, id), id);
  }
  for (const key of named) assert.ok(Object.hasOwn(Nodes, key), key);
});

test('entries that lead in a circle have a chain that says so', () => {
  const redirect = (Name: string, Service: string) => ({
    Kind: 'service-resolver',
    Name,
    Redirect: { Service },
  });
  const chain = chainOf('a', rawStoreOf(redirect('a', 'b'), redirect('b', 'a')));
  assert.equal(chain.StartNode, 'resolver:a.default.default.dc1');
  assert.deepEqual(chain.Problems, [
    {
      Rule: 'service-resolver/a',
      Field: 'Redirect',
      Message: 'redirects must not form a circle: a -> b -> a',
    },
    {
      Rule: 'service-resolver/b',
      Field: 'Redirect',
      Message: 'redirects must not form a circle: b -> a -> b',
    },
  ]);
});

test('overrides show in every target, and a hash tells that they made a difference', () => {
  const split = { Kind: 'service-splitter', Name: 'api', Splits: [{ Weight: 100, ServiceSubset: 'v2' }] };
  const store = storeOf(versions, split);
  const { CustomizationHash: none, ...plain } = chainOf('api', store);
  const same = chainOf('api', store, { connectTimeoutMs: 15_000 });
  assert.deepEqual([none, same.CustomizationHash], [undefined, undefined]);
  assert.deepEqual(same, plain);
  const quick = chainOf('api', store, { connectTimeoutMs: 1000, meshGatewayMode: 'local' });
  assert.match(quick.CustomizationHash as string, /^[0-9a-f]{8}$/);
  for (const target of Object.values(quick.Targets)) {
    const { ConnectTimeout, MeshGateway } = target as { [field: string]: unknown };
    assert.deepEqual([ConnectTimeout, MeshGateway], ['1s', { Mode: 'local' }]);
  }
  assert.match(plain.StartNode, /^splitter:/);
  const bytes = chainOf('api', store, { protocol: 'tcp' });
  assert.deepEqual(
    [bytes.Protocol, bytes.StartNode],
    ['tcp', 'resolver:v1.api.default.default.dc1'],
    'a byte stream is not split',
  );
  assert.notEqual(bytes.CustomizationHash, quick.CustomizationHash);
});
