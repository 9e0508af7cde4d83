/** The embedded data plane: listeners, sessions and counters of one host, driven by one configuration at a time. */
import type { ProxyConfig } from '../config.ts';
import type { DataPlane, DataPlaneStats } from '../dataplane.ts';
import type { OnTap, TapFilter } from '../observe/tap.ts';
import { InboundListener } from './inbound.ts';
import { Observing } from './observe/observing.ts';
import type { DataPlaneOptions, Plane } from './options.ts';
import { OutboundListener } from './outbound.ts';
import { OutboundRoutes } from './outbound-routes.ts';
import { Peers } from './peers.ts';
import { QuietLog } from './quiet-log.ts';
import { SocketTransport } from './socket.ts';
import { socketOwners } from './socket-owner.ts';
import { promptDeadlines, slowDeadlines, type TickedDeadlines } from './ticker.ts';
import { type ServiceContext, serviceContexts } from './tls-contexts.ts';
import { Violations } from './violations.ts';

/** How often a closing data plane looks whether everything has finished. */
const drainCheckMs = 20;

export type { DataPlaneOptions, Log, UidOfSocket, VerifyPeer } from './options.ts';

export function createDataPlane(options: DataPlaneOptions): DataPlane {
  return new EmbeddedDataPlane(options);
}

class EmbeddedDataPlane implements DataPlane {
  private readonly plane: Plane;
  private readonly slow: TickedDeadlines;
  private readonly prompt: TickedDeadlines;
  private readonly observing: Observing;
  private readonly inbound: InboundListener;
  private readonly routes: OutboundRoutes;
  private listeners = new Map<string, OutboundListener>();
  /** Listeners that are gone from the configuration, with connections that are not. */
  private readonly leaving = new Set<OutboundListener>();
  private contexts = new Map<string, ServiceContext>();
  /** Configurations are applied one after the other. */
  private applying: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(options: DataPlaneOptions) {
    const now = (): number => options.now();
    this.slow = slowDeadlines(now);
    this.prompt = promptDeadlines(now);
    const context = { now, random: options.random, deadlines: this.slow, promptDeadlines: this.prompt };
    this.observing = new Observing(context, options.log);
    const quietLog = new QuietLog(options.log, now);
    this.plane = {
      context,
      traffic: this.observing.traffic,
      peers: new Peers(options.verifyPeer, quietLog),
      violations: new Violations(quietLog),
      log: options.log,
      quietLog,
      sharesPorts: options.sharesPorts ?? false,
      uidOfSocket: options.uidOfSocket ?? socketOwners(),
    };
    this.inbound = new InboundListener(this.plane);
    this.routes = new OutboundRoutes(this.plane);
  }

  apply(config: ProxyConfig): Promise<void> {
    const applied = this.applying.then(() => (this.closed ? undefined : this.swap(config)));
    // Whoever asked hears of a failure; those who come after it start anew.
    this.applying = applied.catch(() => {});
    return applied;
  }

  /** Everything that decides changes before the first await: no request sees half of a configuration. */
  private async swap(config: ProxyConfig): Promise<void> {
    this.contexts = serviceContexts(config.identities, config.roots, this.contexts, (service, problem) =>
      this.plane.log('error', 'identity-unusable', { service, problem }),
    );
    this.observing.apply(config);
    const isDenialNew = this.plane.peers.deny(config.denied);
    this.routes.apply(config, this.contexts);
    // Whoever is denied is in no balancer any more: what is cut is tried elsewhere.
    if (isDenialNew) this.routes.cutDenied();
    this.updateListeners(config);
    const binds = [...this.listeners.values()].map((listener) => listener.bind());
    await Promise.all([this.inbound.apply(config, this.contexts), ...binds]);
  }

  private updateListeners(config: ProxyConfig): void {
    const before = this.listeners;
    this.listeners = new Map();
    for (const wanted of config.outbound) {
      const known = before.get(wanted.id);
      if (known?.serves(wanted.address, wanted.port)) {
        known.update(wanted);
        this.listeners.set(wanted.id, known);
        before.delete(wanted.id);
      } else this.listeners.set(wanted.id, new OutboundListener(wanted, this.routes, this.plane));
    }
    for (const leaving of this.leaving) if (leaving.connectionCount === 0) this.leaving.delete(leaving);
    for (const gone of before.values()) {
      gone.drain();
      if (gone.connectionCount > 0) this.leaving.add(gone);
    }
  }

  private get connectionCount(): number {
    let count = this.inbound.connectionCount;
    for (const listener of this.listeners.values()) count += listener.connectionCount;
    for (const listener of this.leaving) count += listener.connectionCount;
    return count;
  }

  /** Connections that were given up, whose peers have not taken all they are to get, or may yet be sending. */
  private get leavingCount(): number {
    let count = 0;
    for (const timed of this.slow) if (timed instanceof SocketTransport) count++;
    return count;
  }

  stats(): DataPlaneStats {
    return {
      traffic: this.plane.traffic.snapshot(),
      listeners: [...this.inbound.status, ...[...this.listeners.values()].map((listener) => listener.status)],
      activeConnections: this.connectionCount,
      handshakeFailures: { ...this.inbound.handshakeFailures },
      deniedPeers: this.plane.peers.deniedCounts(),
      violations: { ...this.plane.violations.counts },
      ...this.routes.statuses(),
      lost: this.observing.losses,
      coarseLimits: { crowded: this.inbound.crowded, divided: 0 },
    };
  }

  /** Counters are read where they are counted. */
  async refresh(): Promise<void> {}

  tap(filter: TapFilter, onTap: OnTap): () => void {
    return this.observing.tap(filter, onTap);
  }

  async close(graceMs: number): Promise<void> {
    await this.applying;
    if (this.closed) return;
    this.closed = true;
    this.inbound.drain();
    for (const listener of this.listeners.values()) listener.drain();
    await this.drained(this.plane.context.now() + graceMs);
    for (const listener of [...this.listeners.values(), ...this.leaving]) listener.destroy();
    this.inbound.destroy();
    this.routes.destroy();
    // Whoever was given up and does not close keeps its socket, and that the process, unless somebody ends it.
    for (const timed of [...this.slow, ...this.prompt]) if (timed instanceof SocketTransport) timed.giveUp();
    this.slow.stop();
    this.prompt.stop();
    await this.observing.close();
  }

  private async drained(deadlineMs: number): Promise<void> {
    while (this.connectionCount + this.leavingCount > 0 && this.plane.context.now() < deadlineMs)
      await new Promise<void>((resolve) => setTimeout(resolve, drainCheckMs));
  }
}
