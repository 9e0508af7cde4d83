/** All ways out of this host: which pair of services may talk, made when first asked for. */
import type { Cluster, ProxyConfig } from '../config.ts';
import { Refusal } from '../http1/refusal.ts';
import type { RefusedRoute } from '../http1/route.ts';
import type { Plane } from './options.ts';
import { OutboundRoute } from './outbound-route.ts';
import type { ServiceContext } from './tls-contexts.ts';

/** In the counters, for a caller or a destination that is no service. */
const unknown = 'unknown';

export class OutboundRoutes {
  /** Changes with every configuration: whoever remembers a route asks again. */
  generation = 0;
  private readonly plane: Plane;
  private domainSuffix = '';
  private clusters: ReadonlyMap<string, Cluster> = new Map();
  private contexts: ReadonlyMap<string, ServiceContext> = new Map();
  private readonly routes = new Map<string, OutboundRoute>();
  private retired: OutboundRoute[] = [];

  constructor(plane: Plane) {
    this.plane = plane;
  }

  apply(config: ProxyConfig, contexts: ReadonlyMap<string, ServiceContext>): void {
    this.generation++;
    this.domainSuffix = `.${config.domain}`;
    this.clusters = new Map(config.clusters.map((cluster) => [cluster.service, cluster]));
    this.contexts = contexts;
    this.retired = this.retired.filter((route) => !route.isUnused);
    for (const [key, route] of this.routes) {
      const [source, destination] = key.split(' ') as [string, string];
      const cluster = this.clusters.get(destination);
      const identity = contexts.get(source);
      if (cluster !== undefined && identity !== undefined) route.update(cluster, identity);
      else {
        route.retire();
        this.routes.delete(key);
        this.retired.push(route);
      }
    }
  }

  /** The route from `source` to `destination`; a refusal when there is none. */
  find(source: string | null, destination: string): OutboundRoute | RefusedRoute {
    const cluster = this.clusters.get(destination);
    // What is not in the mesh has no row of its own: a caller could name anything.
    if (cluster === undefined)
      return this.refused(404, 'no-route', `no service ${destination} in the mesh`, source, unknown);
    if (source === null)
      return this.refused(
        403,
        'no-caller',
        'no service of this host owns the calling socket',
        source,
        destination,
      );
    const key = `${source} ${destination}`;
    const known = this.routes.get(key);
    if (known !== undefined) return known;
    const identity = this.contexts.get(source);
    if (identity === undefined)
      return this.refused(503, 'no-identity', `${source} has no certificate yet`, source, destination);
    const route = new OutboundRoute(source, cluster, identity, this.plane);
    this.routes.set(key, route);
    return route;
  }

  /** As `find`, by what a Host header says: `api.mesh`, `api.service.mesh`, either with a port. */
  findHost(source: string | null, host: string): OutboundRoute | RefusedRoute {
    const service = this.serviceIn(host);
    return service === null
      ? this.refused(404, 'no-route', `${host || 'no host'} names no service`, source, unknown)
      : this.find(source, service);
  }

  private serviceIn(host: string): string | null {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (!name.endsWith(this.domainSuffix)) return null;
    const labels = name.slice(0, -this.domainSuffix.length).replace(/\.service$/, '');
    return labels === '' || labels.includes('.') ? null : labels;
  }

  private refused(
    status: number,
    reason: 'no-route' | 'no-caller' | 'no-identity',
    detail: string,
    source: string | null,
    destination: string,
  ): RefusedRoute {
    const counter = this.plane.traffic.counter('source', source ?? unknown, destination, 'http');
    return { refusal: new Refusal(status, reason, detail), counter };
  }

  /** How a service of the mesh is to be spoken to; what is not known is found out. */
  protocolOf(destination: string): Cluster['protocol'] {
    return this.clusters.get(destination)?.protocol ?? 'auto';
  }

  cutDenied(): void {
    for (const route of [...this.routes.values(), ...this.retired]) route.cutDenied();
  }

  destroy(): void {
    for (const route of [...this.routes.values(), ...this.retired]) route.destroy();
  }
}
