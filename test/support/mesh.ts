/** Two data planes in one process, as on two hosts: applications call at one, and are called at the other. */
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { seededRandom } from '../../src/core.ts';
import type {
  Cluster,
  Destination,
  InboundService,
  OutboundListener,
  ProxyConfig,
  Route,
} from '../../src/proxy/config.ts';
import type { DataPlane, TrafficRow } from '../../src/proxy/dataplane.ts';
import { createDataPlane, type DataPlaneOptions } from '../../src/proxy/io/embedded.ts';
import { defaultBalance } from '../../src/proxy/policy-defaults.ts';
import type { IdentityView } from '../../src/proxy/view.ts';
import { createTestAuthority, spiffeIdOf, type TestAuthority, verifyTestPeer } from './pki.ts';

export const trustDomain = 'test.mesh';

let authority: TestAuthority | null = null;
const identities = new Map<string, IdentityView>();

/** One authority for all tests of a process: making keys takes time. */
export function testAuthority(): TestAuthority {
  authority ??= createTestAuthority(trustDomain);
  return authority;
}

export function identityOf(service: string): IdentityView {
  const known = identities.get(service);
  if (known !== undefined) return known;
  const identity = testAuthority().issue(service);
  identities.set(service, identity);
  return identity;
}

export function sniOf(service: string): string {
  return `${service}.default.dc1.internal.${trustDomain}`;
}

/** A configuration of one host with nothing on it. */
export function emptyConfig(): ProxyConfig {
  return {
    trustDomain,
    domain: 'mesh',
    datacenter: 'dc1',
    zone: 'a',
    roundTrips: [],
    inbound: { address: '127.0.0.1', port: 0, services: [] },
    outbound: [],
    destinations: [],
    callers: [],
    clusters: [],
    problems: [],
    accessLog: null,
    tracing: null,
    identities: [],
    roots: [testAuthority().rootPem],
    denied: { hosts: [], serials: [] },
    conflicts: [],
  };
}

export function inboundService(
  service: string,
  ports: readonly number[],
  more: Partial<InboundService> = {},
): InboundService {
  return {
    service,
    subset: '',
    sni: sniOf(service),
    spiffeId: spiffeIdOf(trustDomain, service),
    protocol: 'auto',
    endpoints: ports.map((port) => ({ id: `${service}-${port}`, address: '127.0.0.1', port, weight: 100 })),
    outOfRotation: 0,
    rules: [],
    defaultAction: 'allow',
    maxConnections: 0,
    rateLimits: null,
    connectTimeoutMs: 0,
    requestTimeoutMs: 0,
    ...more,
  };
}

export function cluster(service: string, ports: readonly number[], more: Partial<Cluster> = {}): Cluster {
  return {
    id: service,
    service,
    subset: '',
    datacenter: 'dc1',
    balance: defaultBalance,
    failover: [],
    protocol: 'auto',
    sni: sniOf(service),
    spiffeId: spiffeIdOf(trustDomain, service),
    // A connection is made as soon as the machine comes to it.
    connectTimeoutMs: 10_000,
    localConnectTimeoutMs: 1000,
    endpoints: ports.map((port) => ({
      id: `host-${port}`,
      hostName: `host-${port}`,
      address: '127.0.0.1',
      port,
      weight: 100,
      zone: 'a',
    })),
    outOfRotation: 0,
    ...more,
  };
}

/** Everything asked for by the name of a cluster goes to it. */
export function destination(cluster: Cluster, more: Partial<Route> = {}): Destination {
  const { service, protocol, id } = cluster;
  return { id: service, service, protocol, routes: [{ ...plainRoute(id), ...more }] };
}

/** The configuration with these clusters, each of which can be asked for by its service's name. */
export function withClusters(config: ProxyConfig, clusters: readonly Cluster[]): ProxyConfig {
  return { ...config, clusters, destinations: clusters.map((each) => destination(each)) };
}

export function plainRoute(cluster: string): Route {
  return {
    rule: '',
    match: null,
    split: [{ weight: 10_000, cluster, rule: '', requestHeaders: null, responseHeaders: null }],
    prefixRewrite: null,
    timeouts: { requestMs: null, idleMs: null, perTryMs: null },
    retry: null,
    hedge: null,
    requestHeaders: null,
    responseHeaders: null,
    mirror: null,
    fault: null,
    redirect: null,
  };
}

/** A listener on a port of the system's choice for calls of `source`. */
export function listener(source: string, destination: string | null): OutboundListener {
  const id = destination === null ? 'outbound' : `upstream/${source}/${destination}`;
  return { id, address: '127.0.0.1', port: 0, caller: { type: 'service', service: source }, destination };
}

export function startPlane(t: TestContext, more: Partial<DataPlaneOptions> = {}): DataPlane {
  const plane = createDataPlane({
    now: () => performance.now(),
    random: seededRandom(1),
    verifyPeer: verifyTestPeer(trustDomain),
    log: () => {},
    ...more,
  });
  t.after(() => plane.close(0));
  return plane;
}

export function portOf(plane: DataPlane, id: string): number {
  const status = plane.stats().listeners.find((each) => each.id === id);
  if (status === undefined || status.error !== null)
    throw new Error(`${id}: ${status?.error ?? 'no such listener'}`);
  return status.port;
}

export interface TestMesh {
  readonly caller: DataPlane;
  readonly callee: DataPlane;
  readonly callerConfig: ProxyConfig;
  readonly calleeConfig: ProxyConfig;
  /** Where `web` reaches `api`. */
  readonly port: number;
  /** Where `api` is called over mTLS. */
  readonly inboundPort: number;
}

/** `web` on one host calls `api` on another, whose instances listen on `appPorts`. */
export async function startMesh(
  t: TestContext,
  appPorts: readonly number[],
  more: {
    inbound?: Partial<InboundService>;
    cluster?: Partial<Cluster>;
    route?: Partial<Route>;
    callee?: Partial<DataPlaneOptions>;
    caller?: Partial<DataPlaneOptions>;
  } = {},
): Promise<TestMesh> {
  const callee = startPlane(t, more.callee);
  const calleeConfig: ProxyConfig = {
    ...emptyConfig(),
    inbound: { address: '127.0.0.1', port: 0, services: [inboundService('api', appPorts, more.inbound)] },
    identities: [identityOf('api')],
  };
  await callee.apply(calleeConfig);
  const inboundPort = portOf(callee, 'inbound');
  const caller = startPlane(t, more.caller);
  const api = cluster('api', [inboundPort], more.cluster);
  const callerConfig: ProxyConfig = {
    ...emptyConfig(),
    outbound: [listener('web', 'api')],
    clusters: [api],
    destinations: [destination(api, more.route)],
    identities: [identityOf('web')],
  };
  await caller.apply(callerConfig);
  return {
    caller,
    callee,
    callerConfig,
    calleeConfig,
    port: portOf(caller, 'upstream/web/api'),
    inboundPort,
  };
}

export async function listenOn(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
      server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

export function startHttpApp(t: TestContext, handler: RequestListener): Promise<number> {
  return listenOn(t, createHttpServer({ keepAliveTimeout: 60_000 }, handler));
}

export function startTcpApp(t: TestContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  return listenOn(t, server);
}

/** Sends bytes, then collects everything until the other side ends; `cut` tells a reset from an end. */
export async function exchange(
  port: number,
  bytes: string | Buffer,
  finish = false,
): Promise<{ text: string; cut: boolean }> {
  const socket = connect(port, '127.0.0.1');
  const received: Buffer[] = [];
  let cut = false;
  socket.on('data', (chunk) => received.push(chunk));
  socket.on('error', () => {
    cut = true;
  });
  if (finish) socket.end(bytes);
  else socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return { text: Buffer.concat(received).toString('latin1'), cut };
}

export function trafficOf(
  plane: DataPlane,
  reporter: TrafficRow['reporter'],
  protocol: TrafficRow['protocol'] = 'http',
): TrafficRow {
  const row = plane.stats().traffic.find((each) => each.reporter === reporter && each.protocol === protocol);
  if (row === undefined) throw new Error(`no ${protocol} traffic counted at the ${reporter}`);
  return row;
}
