/**
 * The membership thread: probes and answers on the gossip port's datagrams, whatever the agent's own thread is
 * busy with. Only when that has been stuck for long does it fall silent, so that the mesh takes this host for
 * what it is. Join requests and introductions of strangers arrive here too, and are passed on.
 */
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIP } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, ed25519Signer, ed25519Verify, Fault, type HostId, type Millis } from '../../core.ts';
import { Sealing, sealedVersion } from '../membership/sealing.ts';
import { Swim } from '../membership/swim.ts';
import { RecentMap } from '../recent-map.ts';
import type { SwimInput, SwimOrder } from '../swim-port.ts';
import { WorstLately } from '../worst-lately.ts';
import { bindUdp, introductionDatagram, type JoinReply, JoinServer } from './join.ts';
import { ReportQueue } from './report-queue.ts';
import {
  type FromSwimThread,
  type Location,
  noDatagramCounters,
  type Patience,
  type SwimThreadData,
  type ToSwimThread,
} from './swim-messages.ts';

assert(parentPort !== null, 'this is the entry of a worker thread');
const parent = parentPort;

/** Batches of reports that the agent's thread may have yet to take; further reports wait and are merged. */
const maxUntaken = 4;
/** Join requests that wait for the agent's answer; beyond, the oldest is forgotten. */
const maxJoins = 256;
/** Hosts whose addresses are known, more than any mesh has; beyond, that told longest ago is forgotten. */
const maxLocations = 65_536;
/** setTimeout's limit is 2^31 - 1; a wake this far off is re-armed anyway. */
const longestTimerMs = 60_000;

/** Fractions of a millisecond count: a round trip is often less. */
function clock(): () => Millis {
  const base = Date.now() - performance.now();
  return () => base + performance.now();
}

class SwimThreadBody {
  private readonly swim: Swim;
  private readonly sealing: Sealing;
  private readonly socket: Socket;
  private readonly joins: JoinServer;
  private readonly now = clock();
  private readonly counters = noDatagramCounters();
  private readonly reports = new ReportQueue();
  private readonly lag = new WorstLately();
  /** Kept for hosts that are no members: a host that is admitted again need not say anew where it is. */
  private readonly locations = new RecentMap<Location>(maxLocations);
  private readonly replies = new Map<number, JoinReply>();
  private readonly patience: Patience;
  private lastExchange = 0;
  private untaken = 0;
  private silentTicks = 0;
  private flushing = false;
  private timer: NodeJS.Timeout | null = null;
  private armedFor: Millis | null = null;
  private readonly ticker: NodeJS.Timeout;

  constructor(data: SwimThreadData, socket: Socket) {
    const signer = ed25519Signer(data.seed);
    const self = signer.publicKey;
    const { seed, mesh, epoch } = data;
    this.sealing = new Sealing({ self, seed, mesh, epoch });
    this.swim = new Swim({
      self,
      signer,
      verify: ed25519Verify,
      random: { next: Math.random },
      epoch,
      root: data.root,
      wallMs: Date.now,
      parameters: data.parameters,
    });
    this.socket = socket;
    this.joins = new JoinServer(socket, {
      request: (payload, reply) => this.joinRequest(payload, reply),
      introduction: (payload) => this.say({ type: 'introduction', payload }),
    });
    socket.on('message', (datagram, from) => this.receive(datagram, from));
    parent.on('message', (message: ToSwimThread) => this.told(message));
    this.patience = data.patience;
    this.ticker = setInterval(() => this.tick(), data.patience.tickMs);
  }

  /** Whether the agent's thread has given no sign for so long that nobody should rely on this host. */
  private get isMute(): boolean {
    return this.silentTicks >= this.patience.ticks;
  }

  private told(message: ToSwimThread): void {
    const wasMute = this.isMute;
    this.silentTicks = 0;
    // What fell due meanwhile says nothing about anybody else: membership sees that it was stalled.
    if (wasMute) this.feed({ type: 'wake' });
    switch (message.type) {
      case 'orders':
        for (const order of message.orders) this.obey(order);
        break;
      case 'join-reply':
        this.replies.get(message.exchange)?.(message.payload);
        this.replies.delete(message.exchange);
        break;
      case 'introduce':
        this.introduce(message.to, message.introductions);
        break;
      case 'taken':
        this.untaken--;
        this.flushSoon();
        break;
      case 'stop':
        this.stop();
    }
  }

  private obey(order: SwimOrder | Location): void {
    if (order.type === 'locate') {
      if (canBeSentTo(order)) this.locations.set(order.host, order);
      return;
    }
    if (order.type === 'add') this.sealing.admit(order.id);
    else if (order.type === 'remove') this.sealing.dismiss(order.id);
    this.feed({ type: 'order', order });
  }

  private receive(datagram: Buffer, from: RemoteInfo): void {
    this.counters.received++;
    this.counters.bytesReceived += datagram.length;
    if (this.isMute) {
      // Join requests too: nobody would answer them, and they would pile up before the agent's thread.
      this.counters.muted++;
      return;
    }
    if (datagram[0] !== sealedVersion) {
      this.joins.receive(datagram, from);
      return;
    }
    const opened = this.sealing.open(datagram);
    if (typeof opened === 'string') this.counters[opened]++;
    else this.feed({ type: 'datagram', from: opened.from, bytes: opened.frame });
  }

  private feed(input: SwimInput): void {
    for (const effect of this.swim.step(input, this.now())) {
      if (effect.type === 'datagram') this.send(effect.to, effect.bytes);
      else this.reports.add(effect.report);
    }
    this.flushSoon();
    this.arm();
  }

  private send(to: HostId, frame: Uint8Array): void {
    const location = this.locations.get(to);
    const datagram = location === undefined || this.isMute ? null : this.sealing.seal(to, frame, Date.now());
    if (location === undefined || datagram === null) this.counters.unsendable++;
    else this.sendTo(location, datagram);
  }

  private introduce(to: HostId, introductions: readonly Uint8Array[]): void {
    const location = this.locations.get(to);
    if (location === undefined) this.counters.unsendable++;
    else for (const payload of introductions) this.sendTo(location, introductionDatagram(payload));
  }

  private sendTo(location: Location, datagram: Uint8Array): void {
    this.counters.sent++;
    this.counters.bytesSent += datagram.length;
    this.socket.send(datagram, location.port, location.address, (error) => {
      // Lost like any other datagram: whoever waits for an answer will notice.
      if (error !== null) this.counters.sendErrors++;
    });
  }

  private arm(): void {
    const wake = this.swim.nextWake();
    if (wake === this.armedFor && this.timer !== null) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.armedFor = wake;
    this.timer = null;
    if (wake === null) return;
    const delayMs = Math.min(Math.max(0, wake - this.now()), longestTimerMs);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.noteLag(wake);
      // While mute no answer can come in; see `told`.
      if (!this.isMute) this.feed({ type: 'wake' });
    }, Math.ceil(delayMs));
  }

  private noteLag(due: Millis): void {
    const now = this.now();
    this.lag.note(now - due, now);
  }

  /** Once per turn of the event loop, so that reports of one turn travel together. */
  private flushSoon(): void {
    if (this.flushing || this.reports.isEmpty || this.untaken >= maxUntaken) return;
    this.flushing = true;
    setImmediate(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.untaken >= maxUntaken) return;
    const { requests, introductions, replies, dropped, malformed } = this.joins.counters;
    this.counters.joinRequests = requests;
    this.counters.introductions = introductions;
    this.counters.joinReplies = replies;
    this.counters.joinsDropped = dropped;
    this.counters.joinsMalformed = malformed;
    this.counters.reportsDropped = this.reports.dropped;
    this.untaken++;
    const health = { lagMs: this.lag.at(this.now()), waitingReports: this.reports.size };
    this.say({ type: 'reports', reports: this.reports.take(), counters: this.counters, health });
  }

  /** Each batch is answered, so that even one without reports tells whether the agent's thread lives. */
  private tick(): void {
    this.silentTicks++;
    if (this.untaken === 0) this.flush();
  }

  private joinRequest(payload: Uint8Array, reply: JoinReply): void {
    const exchange = ++this.lastExchange;
    this.replies.set(exchange, reply);
    for (const oldest of this.replies.keys()) {
      if (this.replies.size <= maxJoins) break;
      this.replies.delete(oldest);
    }
    this.say({ type: 'join', exchange, payload });
  }

  private say(message: FromSwimThread): void {
    parent.postMessage(message);
  }

  private stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    clearInterval(this.ticker);
    this.socket.close();
    parent.close();
  }
}

/** Another host wrote where it is, and sending to what is no port would throw. */
function canBeSentTo({ address, port }: Location): boolean {
  return isIP(address) !== 0 && Number.isInteger(port) && port > 0 && port < 65_536;
}

const data = workerData as SwimThreadData;
try {
  const socket = await bindUdp(data.bind, data.port);
  new SwimThreadBody(data, socket);
  parent.postMessage({ type: 'listening', port: socket.address().port } satisfies FromSwimThread);
} catch (error) {
  if (!(error instanceof Fault)) throw error;
  const { code, message } = error;
  parent.postMessage({ type: 'failed', code, message } satisfies FromSwimThread);
  parent.close();
}
