/** Frames to and from peers: one long-lived outbound stream per peer, opened when there is something to say. */
import type { Connection, PeerId, Stream } from '@libp2p/interface';
import { assert, type HostId } from '../../core.ts';
import type { Dialer } from './dialer.ts';
import { encodeFrame, FrameReader, maxFrameBytes } from './frames.ts';
import { hostIdOf, peerIdOf } from './identity.ts';
import type { Libp2pNode } from './node.ts';

export const frameProtocol = '/starling/agent/1';

/** What may wait for one peer; beyond either bound the newest frame is dropped and counted. */
export const maxQueuedFrames = 1024;
export const maxQueuedBytes = 8 * 1024 * 1024;
/** Peers with anything queued or an open stream; beyond it frames to further peers are dropped and counted. */
const maxLinks = 4096;
/** How long a peer may take to accept a stream on a connection that is already open. */
const streamTimeoutMs = 5000;
/** What a peer may send on the stream that only we write to. */
const maxUnreadBytes = 1024;

/** What a link tells its owner. */
export interface LinkHandlers {
  frame(from: HostId, bytes: Uint8Array): void;
  /** Frames to this peer were lost: it could not be dialed, refused the stream, or reset it. */
  unreachable(peer: HostId): void;
}

interface Link {
  readonly host: HostId;
  readonly peerId: PeerId;
  readonly queue: Uint8Array[];
  queuedBytes: number;
  stream: Stream | null;
  opening: boolean;
  /** The stream took all it can for now; its `drain` event resumes. */
  blocked: boolean;
}

/** All links of this agent. */
export class Links {
  readonly counters = {
    framesSent: 0,
    framesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    /** Queue or link table full, or frame too large. */
    framesDropped: 0,
    /** Queued for a peer that then proved unreachable. */
    framesUndelivered: 0,
    /** A peer broke the framing; its stream was reset. */
    streamsRefused: 0,
  };
  private readonly dialer: Dialer;
  private readonly admitted: (host: HostId) => boolean;
  private readonly handlers: LinkHandlers;
  /** Least recently used first. */
  private readonly links = new Map<HostId, Link>();
  private stopped = false;

  constructor(dialer: Dialer, admitted: (host: HostId) => boolean, handlers: LinkHandlers) {
    this.dialer = dialer;
    this.admitted = admitted;
    this.handlers = handlers;
  }

  /** Serves the streams that peers open to us. */
  async serve(node: Libp2pNode): Promise<void> {
    await node.handle(frameProtocol, (stream, connection) => this.accept(stream, connection), {
      // A peer needs one; a second bridges the moment in which it replaces a stream that broke.
      maxInboundStreams: 2,
      maxOutboundStreams: 2,
    });
  }

  /** Queues one frame; delivery is at most once and in order while the stream lives. */
  send(to: HostId, body: Uint8Array): void {
    const link = this.stopped || body.length > maxFrameBytes ? null : this.linkTo(to);
    if (
      link === null ||
      link.queue.length >= maxQueuedFrames ||
      link.queuedBytes + body.length > maxQueuedBytes
    ) {
      this.counters.framesDropped += 1;
      return;
    }
    link.queue.push(body);
    link.queuedBytes += body.length;
    if (link.stream !== null) this.flush(link, link.stream);
    else if (!link.opening) void this.open(link);
  }

  /** Hosts with a link, least recently used first. */
  leastRecentlyUsed(): HostId[] {
    return [...this.links.keys()];
  }

  /** Frames that wait for all hosts together. */
  queued(): { readonly frames: number; readonly bytes: number } {
    let frames = 0;
    let bytes = 0;
    for (const { queue, queuedBytes } of this.links.values()) {
      frames += queue.length;
      bytes += queuedBytes;
    }
    return { frames, bytes };
  }

  /** Frames that wait for `host`. */
  queuedFrames(host: HostId): number {
    return this.links.get(host)?.queue.length ?? 0;
  }

  /** Forgets what is queued for a peer whose last connection closed. */
  forget(host: HostId): void {
    const link = this.links.get(host);
    if (link === undefined || link.opening) return;
    this.links.delete(host);
    link.stream = null;
    this.discard(link);
  }

  stop(): void {
    this.stopped = true;
    for (const link of this.links.values()) this.discard(link);
    this.links.clear();
  }

  /** The link to a peer, now the most recently used; null when the table is full. */
  private linkTo(host: HostId): Link | null {
    const known = this.links.get(host);
    if (known !== undefined) {
      this.links.delete(host);
      this.links.set(host, known);
      return known;
    }
    if (this.links.size >= maxLinks) return null;
    const link: Link = {
      host,
      peerId: peerIdOf(host),
      queue: [],
      queuedBytes: 0,
      stream: null,
      opening: false,
      blocked: false,
    };
    this.links.set(host, link);
    return link;
  }

  private async open(link: Link): Promise<void> {
    assert(!link.opening && link.stream === null, 'a link is opened once');
    link.opening = true;
    try {
      const connection = await this.dialer.connection(link.host, link.peerId);
      const stream = await connection.newStream(frameProtocol, {
        signal: AbortSignal.timeout(streamTimeoutMs),
      });
      link.opening = false;
      this.attach(link, stream);
    } catch {
      // Whatever the cause, the peer cannot be spoken to now; what to do about it is the core's decision.
      link.opening = false;
      this.fail(link);
    }
  }

  private attach(link: Link, stream: Stream): void {
    if (this.links.get(link.host) !== link) {
      stream.abort(new Error('the link was given up'));
      return;
    }
    stream.inactivityTimeout = Number.POSITIVE_INFINITY;
    stream.maxReadBufferLength = maxUnreadBytes;
    link.stream = stream;
    link.blocked = false;
    stream.addEventListener('drain', () => {
      link.blocked = false;
      if (link.stream === stream) this.flush(link, stream);
    });
    stream.addEventListener(
      'close',
      () => {
        if (link.stream === stream) this.fail(link);
      },
      { once: true },
    );
    this.flush(link, stream);
  }

  /** Writes as much as the stream takes. */
  private flush(link: Link, stream: Stream): void {
    let sent = 0;
    try {
      while (!link.blocked && sent < link.queue.length) {
        const body = link.queue[sent]!;
        sent += 1;
        link.queuedBytes -= body.length;
        link.blocked = !stream.send(encodeFrame(body));
        this.counters.framesSent += 1;
        this.counters.bytesSent += body.length;
      }
      link.queue.splice(0, sent);
    } catch {
      // The stream was closed under us; its `close` event may still be on its way.
      link.queue.splice(0, sent);
      this.counters.framesUndelivered += 1;
      this.fail(link);
    }
  }

  /** The stream or the attempt to open it is gone: drops what waited and says so, if anything was lost. */
  private fail(link: Link): void {
    const wasOpen = link.stream !== null;
    link.stream = null;
    link.blocked = false;
    if (this.links.get(link.host) === link) this.links.delete(link.host);
    const lost = this.discard(link);
    if (!this.stopped && (lost > 0 || !wasOpen)) this.handlers.unreachable(link.host);
  }

  private discard(link: Link): number {
    const lost = link.queue.length;
    this.counters.framesUndelivered += lost;
    link.queue.length = 0;
    link.queuedBytes = 0;
    return lost;
  }

  /** Reads the frames of a stream that a peer opened. */
  private accept(stream: Stream, connection: Connection): void {
    const from = hostIdOf(connection.remotePeer);
    if (from === null || this.stopped) {
      stream.abort(new Error('not admitted'));
      return;
    }
    const reader = new FrameReader();
    stream.inactivityTimeout = Number.POSITIVE_INFINITY;
    stream.addEventListener('message', (event) => {
      if (stream.status !== 'open') return;
      // Admission may have ended since the connection was let in.
      if (this.stopped || !this.admitted(from)) {
        this.counters.streamsRefused += 1;
        stream.abort(new Error('not admitted'));
        return;
      }
      const bodies = this.read(reader, event.data.subarray(), stream);
      for (const body of bodies) {
        this.counters.framesReceived += 1;
        this.counters.bytesReceived += body.length;
        this.handlers.frame(from, body);
      }
    });
    // The peer is done writing; we never write on its stream.
    stream.addEventListener(
      'remoteCloseWrite',
      () => void stream.close().catch(() => stream.abort(new Error('close failed'))),
    );
  }

  /** The frames that a chunk completes; a peer that breaks the framing loses its stream. */
  private read(reader: FrameReader, chunk: Uint8Array, stream: Stream): Uint8Array[] {
    try {
      return reader.push(chunk);
    } catch (error) {
      this.counters.streamsRefused += 1;
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      return [];
    }
  }
}
