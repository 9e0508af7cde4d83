/** A mesh of a given size as one agent knows it: a real catalog fed by records, and policy of every kind. */
import { Catalog } from '../../src/agent/catalog/catalog.ts';
import { parseVipRange, VipPool } from '../../src/agent/catalog/vips.ts';
import { CHECK, HOST, SERVICE } from '../../src/agent/kinds.ts';
import type { ProjectionInput } from '../../src/agent/project.ts';
import type { PolicyView } from '../../src/proxy/policy.ts';
import { definitionOf, hostValue } from '../../test/support/agent.ts';
import {
  pathPrefix,
  policyView,
  resolver,
  route,
  router,
  serviceDefaults,
  splitter,
  target,
  version,
} from '../../test/unit/proxy/policies.ts';

export interface MeshSize {
  readonly services: number;
  readonly instances: number;
  readonly hosts: number;
}

const hostIdOf = (host: number): string => host.toString(16).padStart(64, '0');
const nameOf = (service: number): string => `service-${String(service).padStart(4, '0')}`;

export class BenchMesh {
  readonly size: MeshSize;
  readonly catalog = new Catalog();
  private readonly vips = new VipPool(parseVipRange('127.64.0.0/16'));
  private policy: PolicyView;

  constructor(size: MeshSize) {
    this.size = size;
    for (let host = 0; host < size.hosts; host++) {
      const id = hostIdOf(host);
      this.catalog.record(id, HOST, '', hostValue(`host-${host}`, `10.0.${host >> 8}.${host & 255}`));
      this.catalog.member({ id, state: 'alive', incarnation: 0, since: 0, roundTripMs: null });
    }
    for (let instance = 0; instance < size.instances; instance++) this.register(instance);
    this.policy = policyOf(size.services);
  }

  private hostOf(instance: number): string {
    return hostIdOf(instance % this.size.hosts);
  }

  private register(instance: number): void {
    const id = `instance-${instance}`;
    const service = instance % this.size.services;
    const generation = Math.floor(instance / this.size.services) % 2 === 0 ? 'v1' : 'v2';
    const definition = definitionOf({
      id,
      name: nameOf(service),
      port: 8000 + (service % 1000),
      meta: { version: generation },
    });
    this.catalog.record(this.hostOf(instance), SERVICE, id, definition);
    this.check(instance, 'passing');
  }

  /** What a failing health check does on every host of the mesh. */
  check(instance: number, status: 'passing' | 'critical'): void {
    const value = {
      name: 'http',
      status,
      notes: '',
      output: '',
      serviceId: `instance-${instance}`,
      type: 'http',
    };
    this.catalog.record(this.hostOf(instance), CHECK, `check-${instance}`, value);
  }

  /** Writes one entry anew: the same policy but for a timeout of one resolver. */
  writeEntry(revision: number): void {
    const [first, ...others] = this.policy.resolvers;
    const resolvers = [{ ...first!, connectTimeoutMs: 1000 + revision }, ...others];
    this.policy = { ...this.policy, resolvers };
  }

  input(): ProjectionInput {
    return {
      trustDomain: 'mesh.example',
      domain: 'mesh',
      self: hostIdOf(0),
      datacenter: 'dc1',
      zone: '',
      roundTrips: [],
      defaultIntention: 'deny',
      inbound: { address: '10.0.0.1', port: 21000 },
      outbound: { address: '127.0.0.1', port: 15001 },
      catalog: this.catalog,
      policy: this.policy,
      intentions: [],
      vips: this.vips,
      identities: [],
      roots: [],
      denied: { hosts: [], serials: [] },
    };
  }
}

/** Of the services one in two has defaults, one in four subsets and failover, one in eight a split and a router. */
function policyOf(services: number): PolicyView {
  const every = (step: number): string[] =>
    Array.from({ length: Math.ceil(services / step) }, (_, i) => nameOf(i * step));
  return policyView({
    defaults: every(2).map((name) => serviceDefaults(name, { protocol: 'http' })),
    resolvers: every(4).map((name) =>
      resolver(name, {
        subsets: [version('v1'), version('v2')],
        failover: [{ subset: 'v2', targets: [target('', 'v1')] }],
        connectTimeoutMs: 1000,
      }),
    ),
    splitters: every(8).map((name) =>
      splitter(name, { percent: 90, subset: 'v1' }, { percent: 10, subset: 'v2' }),
    ),
    routers: every(8).map((name) => router(name, route({ subset: 'v2' }, pathPrefix('/next/')))),
  });
}
