/**
 * Reads Consul's service definitions, in the API's CamelCase and the files' snake_case, into checked and
 * complete `ServiceDefinition`s, and writes them back. What Starling would not act on is refused, not dropped.
 */
import { maxValueBytes } from '../../gossip/replica/record.ts';
import {
  type CheckDefinition,
  type ServiceDefinition,
  serviceNamePattern,
  type UpstreamDefinition,
} from '../kinds.ts';
import { checkToConsul, idPattern, type Origin, parseCheck } from './check-definition.ts';
import { Fields, fault } from './fields.ts';

/** Limits of one definition. Meta's are Consul's. */
export const maxTags = 128;
export const maxMetaPairs = 64;
export const maxChecksPerService = 32;
export const maxUpstreams = 64;
/** Services in one file. */
export const maxServicesPerFile = 1024;

const addressPattern = /^[0-9A-Za-z.:_-]{0,253}$/;
const metaKey = /^[a-zA-Z0-9_-]{1,128}$/;
const userPattern = /^(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?)$/;
const maxUid = 0xffff_fffe;
const noScopes = 'there are no namespaces or partitions but "default"';

/**
 * Parses the content of a file or of `starling register`: `service`, `services`, or one bare definition.
 * `Fault` with the field's path; nothing is returned unless everything is right.
 */
export function parseDefinitions(input: unknown, origin: Origin): ServiceDefinition[] {
  const file = new Fields(input, '');
  const single = file.value('service');
  const definitions: ServiceDefinition[] = [];
  if (single === undefined && !file.has('services')) return [parseDefinition(input, origin)];
  if (single !== undefined) definitions.push(parseDefinition(single, origin, file.at('service')));
  for (const { value, path } of file.list('services', maxServicesPerFile)) {
    const definition = parseDefinition(value, origin, path);
    if (definitions.some(({ id }) => id === definition.id))
      throw fault('duplicate-id', `${path}.id`, `"${definition.id}" is the id of an earlier service here`);
    definitions.push(definition);
  }
  file.end();
  return definitions;
}

/**
 * Parses one service. `Fault` codes: those of `Fields`, `duplicate-id`, `script-refused`, `too-large`.
 */
export function parseDefinition(input: unknown, origin: Origin, path = ''): ServiceDefinition {
  const fields = new Fields(input, path);
  const name = fields.required(
    'Name',
    serviceNamePattern,
    'a DNS label: a-z, 0-9 and inner hyphens, 63 at most',
  );
  const id = fields.string('ID', '', 200) || name;
  if (!idPattern.test(id))
    throw fields.fault('invalid-field', 'ID', 'must be 1 to 200 printable ASCII characters without spaces');
  refuseUnsupported(fields);
  const port = fields.integer('Port', 0, 0, 65535);
  const address = fields.string('Address', '');
  if (!addressPattern.test(address))
    throw fields.fault('invalid-field', 'Address', `"${address}" is not an IP address or a host name`);
  const user = userOf(fields, origin);
  const definition: ServiceDefinition = {
    id,
    name,
    address,
    port,
    tags: fields.strings('Tags', maxTags, 255),
    meta: metaOf(fields),
    weights: weightsOf(fields),
    enableTagOverride: fields.boolean('EnableTagOverride', false),
    ...user,
    // Without a port there is nothing to lead callers to: it calls, and is not called.
    inMesh: fields.boolean('Mesh', true) && port > 0,
    upstreams: upstreamsOf(fields, { port, address }),
    checks: checksOf(fields, origin, { id, name }),
    source: origin.type === 'file' ? `file:${origin.path}` : 'api',
  };
  fields.end();
  const bytes = Buffer.byteLength(JSON.stringify(definition));
  if (bytes > maxValueBytes)
    throw fault('too-large', path, `takes ${bytes} bytes, more than the ${maxValueBytes} that are gossiped`);
  return definition;
}

/** The account that the application runs as, by name or uid, and its uid. */
function userOf(fields: Fields, origin: Origin): Pick<ServiceDefinition, 'user' | 'uid'> {
  const user = fields.string('User', '');
  if (user === '') return { user, uid: null };
  if (!userPattern.test(user) || Number(user) > maxUid)
    throw fields.fault('invalid-field', 'User', `"${user}" is not a user name or uid`);
  if (/^\d+$/.test(user)) return { user, uid: Number(user) };
  const uid = origin.uidOfUser?.(user) ?? null;
  if (uid === null && origin.uidOfUser !== undefined)
    throw fields.fault('invalid-field', 'User', `there is no user "${user}" on this host`);
  return { user, uid };
}

/** Fields of Consul's that clients send, and that would do nothing here if they said something. */
function refuseUnsupported(fields: Fields): void {
  fields.unsupported(
    'Kind',
    'only plain services are registered: the agent itself is their sidecar and gateway',
    ['typical'],
  );
  fields.unsupported(
    'Proxy',
    'the agent is the sidecar; declare Connect.SidecarService.Proxy on the service itself',
  );
  fields.unsupported('TaggedAddresses', 'a service has one address');
  fields.unsupported('SocketPath', 'services listen on a port');
  fields.unsupported('Namespace', noScopes, ['default']);
  fields.unsupported('Partition', noScopes, ['default']);
  fields.unsupported('Locality', "a service's place is its host's: --datacenter and --zone of the agent");
  fields.unsupported('Token', 'there are no ACL tokens of Consul: the kernel says who calls');
}

function metaOf(fields: Fields): { [key: string]: string } {
  const pairs = fields.pairs('Meta', maxMetaPairs).map(({ key, value, path }): [string, string] => {
    if (!metaKey.test(key))
      throw fault('invalid-field', path, 'a key has 1 to 128 letters, digits, hyphens or underscores');
    if (typeof value !== 'string') throw fault('invalid-field', path, 'must be a string');
    if (value.length > 512) throw fault('invalid-field', path, 'is longer than 512 characters');
    return [key, value];
  });
  return Object.fromEntries(pairs);
}

function weightsOf(fields: Fields): ServiceDefinition['weights'] {
  const weights = fields.object('Weights');
  const passing = weights?.integer('Passing', 1, 1, 65535) ?? 1;
  const warning = weights?.integer('Warning', 1, 0, 65535) ?? 1;
  weights?.end();
  return { passing, warning };
}

function checksOf(fields: Fields, origin: Origin, service: { id: string; name: string }): CheckDefinition[] {
  const single = fields.value('Check');
  const written = fields.list('Checks', maxChecksPerService);
  if (single !== undefined && !isEmptyObject(single))
    written.unshift({ value: single, path: fields.at('Check') });
  const ids = new Set<string>();
  return written.map(({ value, path }, i) => {
    const check = parseCheck(value, path, origin, {
      id: written.length === 1 ? `service:${service.id}` : `service:${service.id}:${i + 1}`,
      name: `Service '${service.name}' check`,
    });
    if (ids.has(check.id))
      throw fault(
        'duplicate-id',
        `${path}.id`,
        `"${check.id}" is the id of an earlier check of this service`,
      );
    ids.add(check.id);
    return check;
  });
}

/** Consul takes `"Check": {}` for none. */
function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function upstreamsOf(fields: Fields, app: { port: number; address: string }): UpstreamDefinition[] {
  const connect = fields.object('Connect');
  if (connect === null) return [];
  connect.unsupported('Native', 'applications speak plaintext to the agent, which speaks mTLS for them');
  connect.unsupported('SidecarTask', 'the agent is the sidecar');
  connect.unsupported('Gateway', 'gateways are not supported');
  const sidecar = connect.object('SidecarService');
  connect.end();
  if (sidecar === null) return [];
  sidecar.unsupported('Port', "all services of a host share the agent's --inbound-port");
  for (const name of [
    'Name',
    'ID',
    'Kind',
    'Address',
    'Tags',
    'Meta',
    'Weights',
    'Check',
    'Checks',
    'TaggedAddresses',
    'EnableTagOverride',
    'Token',
    'Locality',
    'Connect',
    'SocketPath',
  ])
    sidecar.unsupported(name, 'the agent is the sidecar: it is not a service of its own');
  for (const name of ['Namespace', 'Partition']) sidecar.unsupported(name, noScopes, ['default']);
  const proxy = sidecar.object('Proxy');
  sidecar.end();
  if (proxy === null) return [];
  proxy.unsupported('DestinationServiceName', 'the sidecar always stands for the service that declares it');
  proxy.unsupported('DestinationServiceID', 'the sidecar always stands for the service that declares it');
  proxy.unsupported('LocalServiceAddress', "write the service's Address instead", [app.address, '127.0.0.1']);
  proxy.unsupported('LocalServicePort', "write the service's Port instead", [app.port]);
  proxy.unsupported('LocalServiceSocketPath', 'services listen on a port');
  proxy.unsupported('Config', 'settings of other proxies do nothing here; see service-defaults');
  proxy.unsupported('Mode', 'there is no transparent proxy mode', ['direct']);
  for (const name of ['TransparentProxy', 'MeshGateway', 'Expose', 'AccessLogs', 'EnvoyExtensions'])
    proxy.unsupported(name, 'is not supported');
  const upstreams = proxy.list('Upstreams', maxUpstreams).map(({ value, path }) => upstream(value, path));
  proxy.end();
  refuseTwins(upstreams, proxy.at('Upstreams'));
  return upstreams;
}

function upstream(input: unknown, path: string): UpstreamDefinition {
  const fields = new Fields(input, path);
  fields.word('DestinationType', ['service'], 'service');
  const destination = fields.required('DestinationName', serviceNamePattern, 'a service name');
  const bindAddress = fields.string('LocalBindAddress', '') || '127.0.0.1';
  if (
    !/^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bindAddress) ||
    URL.parse(`http://${bindAddress}`)?.hostname !== bindAddress
  )
    throw fields.fault(
      bindAddress === '::1' ? 'unsupported' : 'invalid-field',
      'LocalBindAddress',
      `"${bindAddress}" is not in 127.0.0.0/8: whoever reaches an upstream's port speaks as this service`,
    );
  if (!fields.has('LocalBindPort')) throw fields.missing('LocalBindPort', 'is required');
  const bindPort = fields.integer('LocalBindPort', 0, 1, 65535);
  for (const name of ['DestinationNamespace', 'DestinationPartition'])
    fields.unsupported(name, noScopes, ['default']);
  fields.unsupported('DestinationPeer', 'there is no peering');
  fields.unsupported('LocalBindSocketPath', 'upstreams listen on a port');
  fields.unsupported('LocalBindSocketMode', 'upstreams listen on a port');
  fields.unsupported('Config', 'settings of other proxies do nothing here; see service-defaults');
  for (const name of ['MeshGateway', 'IngressHosts']) fields.unsupported(name, 'is not supported');
  fields.unsupported('CentrallyConfigured', 'is set by Consul only');
  const datacenter = fields.string('Datacenter', '');
  if (datacenter !== '' && !serviceNamePattern.test(datacenter))
    throw fields.fault('invalid-field', 'Datacenter', `"${datacenter}" is not the name of a datacenter`);
  fields.end();
  return { destination, bindAddress, bindPort, datacenter };
}

/** One destination in one datacenter has one port, and one port one destination. */
function refuseTwins(upstreams: readonly UpstreamDefinition[], path: string): void {
  upstreams.forEach((one, i) => {
    for (const earlier of upstreams.slice(0, i)) {
      if (earlier.bindAddress === one.bindAddress && earlier.bindPort === one.bindPort)
        throw fault(
          'conflicting-fields',
          `${path}[${i}]`,
          `${one.bindAddress}:${one.bindPort} is taken by ${earlier.destination}`,
        );
      if (earlier.destination === one.destination && earlier.datacenter === one.datacenter)
        throw fault(
          'conflicting-fields',
          `${path}[${i}]`,
          `${one.destination} is an upstream of this service already`,
        );
    }
  });
}

/** A definition as `parseDefinition` reads it: the reverse, in the API's spelling. */
export function toConsul(definition: ServiceDefinition): { [field: string]: unknown } {
  const upstreams = definition.upstreams.map(({ destination, bindAddress, bindPort, datacenter }) => ({
    DestinationType: 'service',
    DestinationName: destination,
    ...(datacenter === '' ? {} : { Datacenter: datacenter }),
    LocalBindAddress: bindAddress,
    LocalBindPort: bindPort,
  }));
  return {
    ID: definition.id,
    Name: definition.name,
    Tags: definition.tags,
    Meta: definition.meta,
    Port: definition.port,
    Address: definition.address,
    Weights: { Passing: definition.weights.passing, Warning: definition.weights.warning },
    EnableTagOverride: definition.enableTagOverride,
    ...(definition.user === '' ? {} : { User: definition.user }),
    ...(definition.inMesh || definition.port === 0 ? {} : { Mesh: false }),
    ...(upstreams.length === 0 ? {} : { Connect: { SidecarService: { Proxy: { Upstreams: upstreams } } } }),
    ...(definition.checks.length === 0 ? {} : { Checks: definition.checks.map(checkToConsul) }),
  };
}
