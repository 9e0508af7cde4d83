/**
 * Join requests over UDP, for those who are not admitted yet and so get no connection: one datagram with a
 * self-certifying record, one datagram back. And introductions, by those who were admitted while the receiver was
 * away: one datagram, never answered. What they carry is the agent's business.
 *
 * Layout: version (1 byte, 1), type (1 byte: 1 request, 2 reply, 3 introduction), nonce (16 bytes, echoed), payload
 * length (2 bytes, big-endian), payload, zeroes. A reply is never longer than its request, so that nobody can use
 * an agent to multiply traffic towards a forged source; a request is padded to leave room for the reply.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { assert, Fault, messageOf } from '../../core.ts';
import { Allowance, type Rate, Rates } from '../rates.ts';
import { sourceOf } from '../source.ts';

const version = 1;
const requestType = 1;
const replyType = 2;
const introductionType = 3;
const nonceBytes = 16;
const headerBytes = 2 + nonceBytes + 2;
/** A request is at least this long: the largest datagram that every IPv6 path carries whole is 1,232. */
const minRequestBytes = 1200;
/** Larger requests travel in IP fragments; more than this is refused. */
const maxRequestBytes = 8192;
/** The largest payload of a request or an introduction, bytes. */
export const maxJoinPayloadBytes = maxRequestBytes - headerBytes;

/** Requests a server hands on, at most; the rest is dropped. */
const requestRate: Rate = { perSecond: 50, burst: 50 };
/** The same of one source, so that others get through beside one that floods; many may share one NAT. */
const sourceRate: Rate = { perSecond: 25, burst: 25 };
/** Introductions are held to rates of their own: they come unasked, and must not keep anybody from joining. */
const introductionRate: Rate = { perSecond: 20, burst: 50 };
const introductionSourceRate: Rate = { perSecond: 5, burst: 20 };
/** Sources that are remembered. With made-up addresses in plenty, the rate of all is what holds. */
const maxSources = 4096;
/** How long a joiner waits before it sends its request again; it doubles, since silence may be a busy sponsor's. */
const retransmitMs = 300;

interface Datagram {
  readonly type: number;
  readonly nonce: Buffer;
  readonly payload: Buffer;
}

function encode(
  { type, nonce, payload }: { type: number; nonce: Uint8Array; payload: Uint8Array },
  minBytes: number,
): Buffer {
  const datagram = Buffer.alloc(Math.max(minBytes, headerBytes + payload.length));
  datagram[0] = version;
  datagram[1] = type;
  datagram.set(nonce, 2);
  datagram.writeUInt16BE(payload.length, 2 + nonceBytes);
  datagram.set(payload, headerBytes);
  return datagram;
}

/** Null for anything that is not ours. */
function decode(datagram: Buffer): Datagram | null {
  if (datagram.length < headerBytes || datagram.length > maxRequestBytes || datagram[0] !== version)
    return null;
  const payloadBytes = datagram.readUInt16BE(2 + nonceBytes);
  if (payloadBytes > datagram.length - headerBytes) return null;
  return {
    type: datagram[1]!,
    nonce: datagram.subarray(2, 2 + nonceBytes),
    payload: datagram.subarray(headerBytes, headerBytes + payloadBytes),
  };
}

/** Answers with at most as many bytes as the request had; false, and nothing sent, if `payload` is longer. */
export type JoinReply = (payload: Uint8Array) => boolean;
export type JoinHandler = (payload: Uint8Array, reply: JoinReply) => void;

/** An introduction as a datagram for another agent's gossip port; its payload holds `maxJoinPayloadBytes` at most. */
export function introductionDatagram(payload: Uint8Array): Buffer {
  return encode({ type: introductionType, nonce: randomBytes(nonceBytes), payload }, 0);
}

/** The rates of one kind of datagram. */
class Limits {
  private readonly everybody: Allowance;
  private readonly sources: Rates;

  constructor(everybody: Rate, source: Rate) {
    this.everybody = new Allowance(everybody);
    this.sources = new Rates(source, maxSources);
  }

  /** The source first: what one sends too much of must not use up what is there for all. */
  take(address: string, now: number): boolean {
    return this.sources.take(sourceOf(address), now) && this.everybody.take(now);
  }
}

export interface JoinServerHandlers {
  request: JoinHandler;
  introduction(payload: Uint8Array): void;
}

/** Receives join requests and introductions on the gossip port. */
export class JoinServer {
  readonly counters = {
    requests: 0,
    introductions: 0,
    replies: 0,
    /** Over the rate of all, or of one source. */
    dropped: 0,
    malformed: 0,
    repliesTooLarge: 0,
    errors: 0,
  };
  readonly port: number;
  private readonly socket: Socket;
  private readonly handlers: JoinServerHandlers;
  private readonly requestRates = new Limits(requestRate, sourceRate);
  private readonly introductionRates = new Limits(introductionRate, introductionSourceRate);
  private closed = false;

  /** Answers through `socket`, whose datagrams its owner hands to `receive`. */
  constructor(socket: Socket, handlers: JoinServerHandlers) {
    this.socket = socket;
    this.handlers = handlers;
    this.port = socket.address().port;
    // A send that the network refused; the joiner asks again.
    socket.on('error', () => {
      this.counters.errors += 1;
    });
  }

  /** A server with a socket to itself; `port` 0 takes any. Throws as `bindUdp`. */
  static async bind(address: string, port: number, handlers: JoinServerHandlers): Promise<JoinServer> {
    const socket = await bindUdp(address, port);
    const server = new JoinServer(socket, handlers);
    socket.on('message', (datagram, from) => server.receive(datagram, from));
    return server;
  }

  stop(): Promise<void> {
    if (this.closed) return Promise.resolve();
    this.closed = true;
    return new Promise((resolve) => this.socket.close(() => resolve()));
  }

  /** Takes in a datagram that may be a join request or an introduction. */
  receive(bytes: Buffer, from: RemoteInfo): void {
    const datagram = decode(bytes);
    const isRequest = datagram?.type === requestType && bytes.length >= minRequestBytes;
    if (datagram === null || !(isRequest || datagram.type === introductionType)) {
      this.counters.malformed += 1;
      return;
    }
    const rates = isRequest ? this.requestRates : this.introductionRates;
    if (!rates.take(from.address, performance.now())) {
      this.counters.dropped += 1;
      return;
    }
    if (!isRequest) {
      this.counters.introductions += 1;
      this.handlers.introduction(new Uint8Array(datagram.payload));
      return;
    }
    this.counters.requests += 1;
    const nonce = Buffer.from(datagram.nonce);
    this.handlers.request(new Uint8Array(datagram.payload), (payload) => {
      if (headerBytes + payload.length > bytes.length) {
        this.counters.repliesTooLarge += 1;
        return false;
      }
      if (this.closed) return false;
      this.counters.replies += 1;
      this.socket.send(encode({ type: replyType, nonce, payload }, 0), from.port, from.address, (error) => {
        if (error !== null) this.counters.errors += 1;
      });
      return true;
    });
  }
}

/** A bound socket; `port` 0 takes any. Throws `Fault('address-in-use')` or `Fault('bind-failed')`. */
export async function bindUdp(address: string, port: number): Promise<Socket> {
  const isSix = isIPv6(address);
  const socket = createSocket({
    type: isSix ? 'udp6' : 'udp4',
    // Agents are known by their addresses: there is nothing to look up, for every datagram anew.
    lookup: (host, _options, done) => done(null, host, isSix ? 6 : 4),
  });
  try {
    // Without a look-up, binding may be over before `bind` returns.
    const listening = once(socket, 'listening');
    socket.bind({ address, port, exclusive: true });
    await listening;
  } catch (error) {
    socket.close();
    throw bindFault(error, `UDP ${address}:${port}`);
  }
  return socket;
}

/** A bind error as a fault that names the address. */
export function bindFault(error: unknown, where: string): Fault {
  const message = messageOf(error);
  return message.includes('EADDRINUSE')
    ? new Fault('address-in-use', `${where} is in use by another process`, { cause: error })
    : new Fault('bind-failed', `cannot listen on ${where}: ${message}`, { cause: error });
}

export interface JoinRequest {
  readonly address: string;
  readonly port: number;
  /** At most `maxJoinPayloadBytes`. The reply can carry at least 1,180 bytes. */
  readonly payload: Uint8Array;
  /** How long to wait for an answer after the last attempt was sent. */
  readonly timeoutMs: number;
  /** How often to send, 300 ms apart at first, then twice as long each time. */
  readonly attempts: number;
}

/**
 * Asks a running agent; resolves with its reply, which the caller must verify: the nonce proves only that
 * the answerer saw the request. Throws `Fault('join-unanswered')` or `Fault('join-request-too-large')`.
 */
export async function requestJoin(request: JoinRequest): Promise<Uint8Array> {
  assert(request.attempts >= 1, 'at least one attempt');
  if (request.payload.length > maxJoinPayloadBytes)
    throw new Fault('join-request-too-large', `a join request holds ${maxJoinPayloadBytes} bytes`);
  const nonce = randomBytes(nonceBytes);
  const datagram = encode({ type: requestType, nonce, payload: request.payload }, minRequestBytes);
  const socket = createSocket(isIPv6(request.address) ? 'udp6' : 'udp4');
  try {
    return await exchange(socket, datagram, nonce, request);
  } finally {
    socket.close();
  }
}

function exchange(
  socket: Socket,
  datagram: Buffer,
  nonce: Buffer,
  request: JoinRequest,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  let timer: NodeJS.Timeout | undefined;
  let sent = 0;
  let lastError: unknown;
  const attempt = (): void => {
    sent += 1;
    socket.send(datagram, request.port, request.address, (error) => {
      if (error !== null) lastError = error;
    });
    const waitMs = retransmitMs * 2 ** (sent - 1);
    timer = sent < request.attempts ? setTimeout(attempt, waitMs) : setTimeout(giveUp, request.timeoutMs);
  };
  const giveUp = (): void => {
    const reason = lastError === undefined ? '' : `: ${messageOf(lastError)}`;
    const message = `no agent answered at ${request.address}:${request.port}${reason}`;
    reject(new Fault('join-unanswered', message, { cause: lastError }));
  };
  socket.on('error', (error) => {
    lastError = error;
  });
  socket.on('message', (bytes) => {
    const reply = decode(bytes);
    if (reply?.type === replyType && reply.nonce.equals(nonce)) resolve(new Uint8Array(reply.payload));
  });
  attempt();
  return promise.finally(() => clearTimeout(timer));
}
