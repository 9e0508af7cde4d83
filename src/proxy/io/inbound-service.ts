/** One service of this host as its inbound listener serves it: who may call it, and which instances answer. */
import type { InboundService, LocalEndpoint } from '../config.ts';
import { Refusal } from '../http1/refusal.ts';
import { localTimeouts, type Timeouts } from '../http1/timeouts.ts';
import { type Decision, decide } from '../intentions.ts';
import { Upstream, UpstreamGroup } from '../upstreams.ts';
import { AppDialer } from './app-dialer.ts';
import type { Plane } from './options.ts';

interface LocalUpstream {
  readonly endpoint: LocalEndpoint;
  readonly upstream: Upstream;
}

export class LocalService {
  readonly group: UpstreamGroup;
  private readonly plane: Plane;
  private config: InboundService;
  private locals: readonly LocalUpstream[] = [];

  constructor(config: InboundService, plane: Plane) {
    this.plane = plane;
    this.config = config;
    this.group = new UpstreamGroup(plane.context.random);
    this.update(config);
  }

  get name(): string {
    return this.config.service;
  }
  get protocol(): InboundService['protocol'] {
    return this.config.protocol;
  }
  get timeouts(): Timeouts {
    return localTimeouts(this.config.requestTimeoutMs);
  }

  /** Takes on a new configuration; connections to instances that stay are kept. */
  update(config: InboundService): void {
    this.config = config;
    this.locals = config.endpoints.map((endpoint) => {
      const known = this.locals.find((local) => local.endpoint.id === endpoint.id);
      const isSame = known?.endpoint.address === endpoint.address && known.endpoint.port === endpoint.port;
      return { endpoint, upstream: known && isSame ? known.upstream : this.upstreamFor(endpoint) };
    });
    this.group.update(this.locals.map(({ endpoint, upstream }) => ({ upstream, weight: endpoint.weight })));
  }

  private upstreamFor({ id, address, port }: LocalEndpoint): Upstream {
    return new Upstream(id, new AppDialer(address, port, this.plane.context), this.plane.context);
  }

  /** Nothing more comes for it. */
  retire(): void {
    this.group.update([]);
  }

  decide(source: string): Decision {
    return decide(this.config.rules, this.config.defaultAction, source);
  }

  denial(source: string, rule: string | null): Refusal {
    const why = rule === null ? 'default' : `rule ${rule}`;
    return new Refusal(403, 'denied', `${source} -> ${this.name} (${why})`, rule ?? 'default');
  }

  unavailable(): Refusal {
    return new Refusal(
      503,
      'no-healthy-upstream',
      `${this.name} has no instance in rotation on this host (${this.config.outOfRotation} out of rotation)`,
    );
  }
}
