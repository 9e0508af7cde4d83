/** The DNS server: UDP and TCP on one address, around the pure `answer` and its wire format. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { Fault, messageOf, type Random } from '../../../core.ts';
import type { MeshView } from '../../../proxy/view.ts';
import { answer, type DnsView } from '../../dns/dns.ts';
import { encodeAnswer, parseQuery, sizeLimit } from '../../dns/dns-wire.ts';
import type { AgentPort } from '../../port.ts';
import type { SocketAddress } from '../../settings.ts';

/** TCP connections at once; more are closed as they come. */
const maxConnections = 256;
const idleTimeoutMs = 10_000;
/** A client that asks and does not read is cut off at this many bytes of answers. */
const maxUnreadBytes = 256 * 1024;
/** With port 0, tries to find a port that is free for both UDP and TCP. */
const maxPortTries = 20;

export interface DnsServerOptions {
  readonly agent: AgentPort;
  /** Port 0 picks one that is free for UDP and TCP. */
  readonly listen: SocketAddress;
  readonly random?: Random;
  /** Told of trouble with a socket; questions never cause any. */
  readonly onError?: (message: string) => void;
}

export interface DnsServer {
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Answers questions from the agent's catalog; resolves once both sockets are bound. */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const responder = new Responder(options);
  const { address, port } = options.listen;
  for (let left = port === 0 ? maxPortTries : 1; ; left--) {
    const tcp = tcpServer(responder);
    const udp = udpSocket(address, responder);
    try {
      const bound = await listenTcp(tcp, address, port);
      await bindUdp(udp, address, bound);
      const report = (error: Error): void => options.onError?.(error.message);
      tcp.on('error', report);
      udp.on('error', report);
      const close = async (): Promise<void> => {
        await Promise.all([closeTcp(tcp, responder), closeUdp(udp)]);
      };
      return { address, port: bound, close };
    } catch (error) {
      await Promise.all([closeTcp(tcp, responder), closeUdp(udp)]);
      const code = (error as NodeJS.ErrnoException).code;
      if (left <= 1 || code !== 'EADDRINUSE')
        throw new Fault('address-in-use', `DNS on ${address}:${port}: ${messageOf(error)}`, { field: 'dns' });
    }
  }
}

/** Bytes in, bytes out; null where silence is due. Never throws. */
class Responder {
  private readonly options: DnsServerOptions;
  private readonly random: Random;
  /** Service addresses of the view last asked; a new view is a new object. */
  private vips: { readonly view: MeshView; readonly byName: ReadonlyMap<string, string> } | null = null;
  private places: { readonly index: number; readonly names: ReadonlySet<string> } | null = null;
  readonly connections = new Set<Socket>();

  constructor(options: DnsServerOptions) {
    this.options = options;
    this.random = options.random ?? { next: Math.random };
  }

  respond(message: Uint8Array, transport: 'udp' | 'tcp'): Uint8Array | null {
    const query = parseQuery(message);
    if ('reply' in query) return query.reply;
    return encodeAnswer(query, answer(query.question, this.view(), this.random), sizeLimit(query, transport));
  }

  private view(): DnsView {
    const { agent, listen } = this.options;
    const wildcard = listen.address === '0.0.0.0' || listen.address === '::';
    return {
      catalog: agent.catalog,
      domain: agent.self.domain,
      datacenter: agent.self.datacenter,
      zone: agent.self.zone,
      datacenters: this.datacenters(agent),
      serverAddress: wildcard ? null : listen.address,
      vipOf: (service) => this.addresses(agent.view()).get(service) ?? null,
    };
  }

  /** Collected anew only when a host came, went or changed. */
  private datacenters({ catalog }: AgentPort): ReadonlySet<string> {
    const index = catalog.indexOf('nodes');
    if (this.places?.index !== index) {
      const names = new Set(catalog.presentHosts().map((host) => host.value.datacenter));
      this.places = { index, names };
    }
    return this.places.names;
  }

  private addresses(view: MeshView): ReadonlyMap<string, string> {
    if (this.vips?.view !== view) {
      const byName = new Map<string, string>();
      for (const service of view.services) if (service.vip !== null) byName.set(service.name, service.vip);
      this.vips = { view, byName };
    }
    return this.vips.byName;
  }
}

function udpSocket(address: string, responder: Responder): UdpSocket {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('message', (message, from) => {
    const reply = responder.respond(message, 'udp');
    if (reply !== null && from.port !== 0) socket.send(reply, from.port, from.address);
  });
  return socket;
}

function tcpServer(responder: Responder): Server {
  const server = createServer((socket) => {
    responder.connections.add(socket);
    socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    socket.on('close', () => responder.connections.delete(socket));
    // A client that resets its connection has said all there is to say.
    socket.on('error', () => socket.destroy());
    let unread: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      unread = answerFrames(unread.length === 0 ? chunk : Buffer.concat([unread, chunk]), socket, responder);
    });
  });
  server.maxConnections = maxConnections;
  return server;
}

/** Answers every complete frame (two bytes of length, then the message); returns what is left. */
function answerFrames(received: Buffer, socket: Socket, responder: Responder): Buffer {
  let rest = received;
  while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
    const end = 2 + rest.readUInt16BE(0);
    const reply = responder.respond(rest.subarray(2, end), 'tcp');
    rest = rest.subarray(end);
    if (reply === null) continue;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    socket.write(Buffer.concat([length, reply]));
    if (socket.writableLength > maxUnreadBytes) socket.destroy();
    if (socket.destroyed) break;
  }
  return rest;
}

async function listenTcp(server: Server, address: string, port: number): Promise<number> {
  server.listen(port, address);
  await once(server, 'listening');
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : port;
}

async function bindUdp(socket: UdpSocket, address: string, port: number): Promise<void> {
  socket.bind(port, address);
  await once(socket, 'listening');
}

async function closeTcp(server: Server, responder: Responder): Promise<void> {
  for (const socket of responder.connections) socket.destroy();
  if (!server.listening) return;
  await new Promise<void>((done) => server.close(() => done()));
}

function closeUdp(socket: UdpSocket): Promise<void> {
  return new Promise((done) => {
    try {
      socket.close(() => done());
    } catch {
      // Never bound, or closed already: nothing is left to close.
      done();
    }
  });
}
