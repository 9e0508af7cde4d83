/** One TLS connection to the inbound listener, for as long as its peer may stay. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import { alpnName } from '../mux/frames.ts';
import type { RequestProtocol } from '../upstream/upstreams.ts';
import { SessionCarrier } from './carrier.ts';
import { InboundPeer, type LocalServices } from './inbound-peer.ts';
import type { Plane, VerifiedPeer } from './options.ts';
import { SocketTransport } from './socket.ts';

/** How long a peer whose certificate has expired may take to move to a new connection. */
const expiredGraceMs = 30_000;

/** What a peer that is no proxy of ours agreed to speak. */
const alpnVersions: { readonly [name: string]: RequestProtocol } = { h2: 'http2', 'http/1.1': 'http1' };

export class InboundConnection implements Timed {
  /** When the peer's certificate expires; then it is asked to go, and a little later made to begin nothing new. */
  deadlineMs: Millis;
  private expired = false;
  private readonly socket: TLSSocket;
  private readonly certificate: X509Certificate;
  private verified: VerifiedPeer;
  private readonly plane: Plane;
  private readonly peer: InboundPeer;
  /** Null for a peer that does not speak starling/1. */
  private readonly carrier: SessionCarrier | null;

  constructor(
    socket: TLSSocket,
    certificate: X509Certificate,
    verified: VerifiedPeer,
    services: LocalServices,
    plane: Plane,
    onOver: (connection: InboundConnection) => void,
  ) {
    this.socket = socket;
    this.certificate = certificate;
    this.verified = verified;
    this.plane = plane;
    const { context } = plane;
    this.deadlineMs = context.now() + certificate.validToDate.getTime() - Date.now();
    context.deadlines.add(this);
    const sni = typeof socket.servername === 'string' ? socket.servername : '';
    this.peer = new InboundPeer(sni, verified, socket.remoteAddress ?? '', services, plane);
    const over = (problem: string | null): void => {
      context.deadlines.remove(this);
      if (problem !== null) plane.violations.note('session-broken', { peer: verified.spiffeId, problem });
      onOver(this);
    };
    if (socket.alpnProtocol === alpnName) this.carrier = this.serveSession(over);
    else {
      this.carrier = null;
      socket.on('close', () => over(null));
      const transport = new SocketTransport(socket, context, true);
      this.peer.serveConnection(transport, alpnVersions[String(socket.alpnProtocol)] ?? null);
    }
  }

  private serveSession(over: (problem: string | null) => void): SessionCarrier {
    this.socket.setNoDelay(true);
    const carrier = new SessionCarrier(false, this.plane.context, {
      onStream: (stream, protocol) => this.peer.serveStream(stream, protocol),
      onGoAway: () => {},
      onOver: over,
    });
    carrier.attach(this.socket);
    carrier.start();
    // The client waits for a first sign that its certificate was accepted.
    carrier.session.ping();
    return carrier;
  }

  onDeadline(now: Millis): void {
    if (this.expired) this.peer.drain();
    this.deadlineMs = this.expired ? Number.POSITIVE_INFINITY : now + expiredGraceMs;
    this.expired = true;
    this.drain();
  }

  /**
   * After a new configuration: a peer that is not trusted any more is cut, as are byte streams now denied. Its
   * certificate is read again only where roots are new: that takes as long as a request.
   */
  reconsider(areRootsNew: boolean): void {
    const problem = this.problemNow(areRootsNew);
    if (problem === null) this.peer.reconsider();
    else {
      this.plane.peers.note(problem, 'inbound', 'open', this.socket.remoteAddress ?? '');
      this.destroy();
    }
  }

  private problemNow(areRootsNew: boolean): string | null {
    const { peers } = this.plane;
    if (!areRootsNew) return peers.denialOf(this.verified);
    const verified = peers.verify(this.certificate.raw);
    if ('problem' in verified) return verified.problem;
    this.verified = verified;
    return null;
  }

  /**
   * Lets what is under way finish. A session is only asked to: its client closes the idle streams, for if they
   * were closed from here a request might be on its way on one of them.
   */
  drain(): void {
    if (this.carrier === null) this.peer.drain();
    else this.carrier.session.retire();
  }

  destroy(): void {
    this.peer.abort();
    this.carrier?.end(null, 'reset');
    this.socket.destroy();
  }
}
