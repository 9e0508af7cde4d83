/**
 * The catalog in the JSON shapes of Consul's HTTP API, so that its clients work unchanged.
 * Source: Consul's API documentation, version 1.15, and what its Go client decodes.
 */
import { createHash } from 'node:crypto';
import type { HostId } from '../../core.ts';
import type { MemberState } from '../../gossip/port.ts';
import type { Catalog, CheckEntry, HostEntry, ServiceEntry } from '../catalog/catalog.ts';
import { hostCheckId } from '../catalog/catalog.ts';
import type { CheckDefinition, CheckStatus, ServiceDefinition } from '../kinds.ts';

export type Json = { readonly [field: string]: unknown };

/** Consul's node ids are UUIDs; a host's is the first 16 bytes of its key. */
export function nodeUuid(id: HostId): string {
  return [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20, 32)].join('-');
}

function taggedAddresses(address: string): Json {
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  return { lan: address, [`lan_${family}`]: address, wan: address, [`wan_${family}`]: address };
}

/** What `?node-meta=key:value` filters on. */
export function nodeMeta(host: HostEntry): { readonly [key: string]: string } {
  const { zone, version } = host.value;
  return { 'starling-id': host.id, 'starling-version': version, ...(zone === '' ? {} : { zone }) };
}

export function nodeJson(host: HostEntry): Json {
  return {
    ID: nodeUuid(host.id),
    Node: host.value.name,
    Address: host.value.address,
    Datacenter: host.value.datacenter,
    TaggedAddresses: taggedAddresses(host.value.address),
    Meta: nodeMeta(host),
    CreateIndex: host.createIndex,
    ModifyIndex: host.modifyIndex,
  };
}

const noProxy: Json = { Mode: '', MeshGateway: {}, Expose: {} };

/** A service instance as `health/service` and `catalog/node` show it. */
export function serviceJson(entry: ServiceEntry): Json {
  const { definition } = entry;
  return {
    Kind: '',
    ID: definition.id,
    Service: definition.name,
    Tags: definition.tags,
    Meta: definition.meta,
    Port: definition.port,
    Address: definition.address,
    SocketPath: '',
    TaggedAddresses: {},
    Weights: { Passing: definition.weights.passing, Warning: definition.weights.warning },
    EnableTagOverride: definition.enableTagOverride,
    Proxy: noProxy,
    Connect: {},
    PeerName: '',
    CreateIndex: entry.createIndex,
    ModifyIndex: entry.modifyIndex,
  };
}

/**
 * The mTLS side of an instance, as `connect/:service` endpoints show it: where a client with an SVID dials,
 * which is its host's inbound port.
 */
export function sidecarJson(entry: ServiceEntry): Json {
  const { definition, host } = entry;
  return {
    ...serviceJson(entry),
    Kind: 'connect-proxy',
    ID: `${definition.id}-sidecar-proxy`,
    Service: `${definition.name}-sidecar-proxy`,
    Address: host.value.address,
    Port: host.value.inboundPort,
    Proxy: {
      ...noProxy,
      DestinationServiceName: definition.name,
      DestinationServiceID: definition.id,
      LocalServicePort: definition.port,
    },
  };
}

/** One row of `catalog/service/:service`: the node's fields and the instance's, flattened. */
export function catalogServiceJson(entry: ServiceEntry, service: Json): Json {
  const { Meta, CreateIndex: _created, ModifyIndex: _modified, ...node } = nodeJson(entry.host);
  return {
    ...node,
    NodeMeta: Meta,
    ServiceKind: service.Kind,
    ServiceID: service.ID,
    ServiceName: service.Service,
    ServiceTags: service.Tags,
    ServiceAddress: service.Address,
    ServiceTaggedAddresses: service.TaggedAddresses,
    ServiceWeights: service.Weights,
    ServiceMeta: service.Meta,
    ServicePort: service.Port,
    ServiceSocketPath: service.SocketPath,
    ServiceEnableTagOverride: service.EnableTagOverride,
    ServiceProxy: service.Proxy,
    ServiceConnect: service.Connect,
    CreateIndex: entry.createIndex,
    ModifyIndex: entry.modifyIndex,
  };
}

/** The Go duration that Consul prints: `10s`, `1m30s`, `500ms`; '' for none. */
export function goDuration(milliseconds: number): string {
  if (milliseconds === 0) return '';
  if (milliseconds < 1000) return `${milliseconds}ms`;
  const hours = Math.floor(milliseconds / 3_600_000);
  const minutes = Math.floor((milliseconds % 3_600_000) / 60_000);
  const seconds = (milliseconds % 60_000) / 1000;
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`;
}

/** One check; `definition` is known for checks of this very host only. */
export function checkJson(host: HostEntry, check: CheckEntry, definition?: CheckDefinition): Json {
  const service = host.services.get(check.value.serviceId)?.definition;
  return {
    Node: host.value.name,
    CheckID: check.id,
    Name: check.value.name,
    Status: check.value.status,
    Notes: check.value.notes,
    Output: check.value.output,
    ServiceID: check.value.serviceId,
    ServiceName: service?.name ?? '',
    ServiceTags: service?.tags ?? [],
    Type: check.id === hostCheckId ? '' : check.value.type,
    Interval: goDuration(definition?.intervalMs ?? 0),
    Timeout: goDuration(definition?.timeoutMs ?? 0),
    ExposedPort: 0,
    Definition: {},
    CreateIndex: check.createIndex,
    ModifyIndex: check.modifyIndex,
  };
}

/** The host's and the instance's checks: what decides whether the instance passes. */
export function checksJson(catalog: Catalog, entry: ServiceEntry): Json[] {
  return [...catalog.checksOfHost(entry.host), ...catalog.checksOfService(entry)].map((check) =>
    checkJson(entry.host, check),
  );
}

/** Every check of a host: membership's, its own, its services'. */
export function allChecksOf(catalog: Catalog, host: HostEntry): CheckEntry[] {
  const ofServices = [...host.checks.values()].filter((check) => check.value.serviceId !== '');
  return [...catalog.checksOfHost(host), ...ofServices.sort((a, b) => (a.id < b.id ? -1 : 1))];
}

/** One row of `health/service/:service`. */
export function healthJson(catalog: Catalog, entry: ServiceEntry, service: Json): Json {
  return { Node: nodeJson(entry.host), Service: service, Checks: checksJson(catalog, entry) };
}

/** A service of this host as `agent/services` shows it. */
export function agentServiceJson(entry: ServiceEntry): Json {
  return { ...localServiceJson(entry), ContentHash: contentHash(entry) };
}

function localServiceJson(entry: ServiceEntry): Json {
  const upstreams = entry.definition.upstreams.map((upstream) => ({
    DestinationType: 'service',
    DestinationName: upstream.destination,
    Datacenter: upstream.datacenter,
    LocalBindAddress: upstream.bindAddress,
    LocalBindPort: upstream.bindPort,
  }));
  const connect = upstreams.length === 0 ? {} : { SidecarService: { Proxy: { Upstreams: upstreams } } };
  return { ...serviceJson(entry), Datacenter: entry.host.value.datacenter, Connect: connect };
}

/** What `?hash=` on `agent/service/:id` compares: sixteen hex digits that change when the content does. */
export function contentHash(entry: ServiceEntry): string {
  return createHash('sha256')
    .update(JSON.stringify(localServiceJson(entry)))
    .digest('hex')
    .slice(0, 16);
}

/** serf's numbers for member states. */
const serfStatus: { readonly [state in MemberState]: number } = { alive: 1, suspect: 1, left: 3, down: 4 };

export function memberJson(host: HostEntry): Json {
  const { value } = host;
  return {
    Name: value.name,
    Addr: value.address,
    Port: value.gossipPort,
    Tags: {
      role: 'node',
      dc: value.datacenter,
      id: nodeUuid(host.id),
      'starling-id': host.id,
      'starling-state': host.state,
      'inbound-port': String(value.inboundPort),
      build: value.version,
      ...(value.zone === '' ? {} : { zone: value.zone }),
    },
    Status: serfStatus[host.state],
    ProtocolMin: 1,
    ProtocolMax: 5,
    ProtocolCur: 2,
    DelegateMin: 2,
    DelegateMax: 5,
    DelegateCur: 4,
  };
}

/** HTTP status by which `agent/health/service` tells a load balancer what it thinks. */
export const healthHttpStatus: { readonly [status in CheckStatus]: number } = {
  passing: 200,
  warning: 429,
  critical: 503,
};

/** `agent/health/service`: one instance of this host with its aggregated status. */
export function agentHealthJson(catalog: Catalog, entry: ServiceEntry): Json {
  const checks = [
    ...catalog.checksOfHost(entry.host).filter((check) => check.id !== hostCheckId),
    ...catalog.checksOfService(entry),
  ];
  return {
    AggregatedStatus: catalog.statusOf(entry),
    Service: agentServiceJson(entry),
    Checks: checks.map((check) => checkJson(entry.host, check)),
  };
}

/** The definition of a check of this host, for its interval and timeout; undefined if it was added later. */
export function checkDefinitionOf(
  services: readonly ServiceDefinition[],
  checkId: string,
): CheckDefinition | undefined {
  for (const service of services) for (const check of service.checks) if (check.id === checkId) return check;
  return undefined;
}
