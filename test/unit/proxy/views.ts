/** Builders of views for tests of the compiler: a small mesh in which every field can be overridden. */
import { noPolicy } from '../../../src/proxy/policy-defaults.ts';
import type {
  InstanceView,
  LocalInstance,
  MeshView,
  ServiceView,
  UpstreamView,
} from '../../../src/proxy/view.ts';

export function instanceView(host: string, fields: Partial<InstanceView> = {}): InstanceView {
  return {
    id: 'api-1',
    host,
    hostName: `host-${host}`,
    address: `10.0.0.${host.charCodeAt(0) % 250}`,
    inboundPort: 21000,
    datacenter: 'dc1',
    zone: 'z1',
    weight: 1,
    health: 'passing',
    suspect: false,
    tags: [],
    meta: {},
    appAddress: '',
    appPort: 8080,
    hostMeta: { zone: 'z1' },
    ...fields,
  };
}

export function serviceView(
  name: string,
  instances: InstanceView[],
  fields: Partial<ServiceView> = {},
): ServiceView {
  return { name, protocol: 'auto', vip: null, vipPort: null, instances, ...fields };
}

export function localInstance(service: string, fields: Partial<LocalInstance> = {}): LocalInstance {
  return {
    id: `${service}-1`,
    service,
    address: '127.0.0.1',
    port: 8080,
    weight: 1,
    health: 'passing',
    inMesh: true,
    uid: null,
    upstreams: [],
    ...fields,
  };
}

export function upstreamView(
  destination: string,
  bindPort: number,
  fields: Partial<UpstreamView> = {},
): UpstreamView {
  return { destination, datacenter: 'dc1', bindAddress: '127.0.0.1', bindPort, ...fields };
}

export function meshView(fields: Partial<MeshView> = {}): MeshView {
  return {
    trustDomain: 'example.test',
    domain: 'mesh',
    host: 'a',
    datacenter: 'dc1',
    zone: 'z1',
    roundTrips: [],
    defaultIntention: 'deny',
    inbound: { address: '10.0.0.1', port: 21000 },
    outbound: { address: '127.0.0.1', port: 15001 },
    services: [],
    local: [],
    callers: [],
    intentions: [],
    policy: noPolicy,
    identities: [],
    roots: [],
    denied: { hosts: [], serials: [] },
    ...fields,
  };
}
