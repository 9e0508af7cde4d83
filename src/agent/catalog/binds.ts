/**
 * Which address and port of this host is whose. One of them leads one service's calls to one destination: two
 * services on it would make one speak for the other, and one of the agent's own would keep it from starting.
 * Pure.
 */
import { Fault } from '../../core.ts';
import type { ServiceDefinition } from '../kinds.ts';
import type { AgentSettings, SocketAddress } from '../settings.ts';

/** An address and port that the agent itself binds; a wildcard address covers every one of the host. */
export interface OwnBind {
  readonly address: string;
  readonly port: number;
  /** The option that says so, such as `--http`. */
  readonly option: string;
}

const wildcards: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** What an agent of these settings binds with TCP. */
export function ownBinds(settings: AgentSettings): OwnBind[] {
  const { bind, gossipPort, inboundPort, outbound, http, dns, proxy } = settings;
  const binds: OwnBind[] = [{ address: bind, port: gossipPort, option: '--gossip-port' }];
  const add = (socket: SocketAddress | null, option: string): void => {
    if (socket !== null) binds.push({ ...socket, option });
  };
  add('port' in http ? http : null, '--http');
  add(dns, '--dns');
  if (proxy === 'none') return binds;
  add({ address: bind, port: inboundPort }, '--inbound-port');
  add(outbound, '--outbound');
  return binds;
}

/** Who holds each bind of some services' upstreams: service id by `address:port`. */
export function bindsOf(services: Iterable<ServiceDefinition>): Map<string, string> {
  const holders = new Map<string, string>();
  for (const { id, upstreams } of services)
    for (const { bindAddress, bindPort } of upstreams) holders.set(`${bindAddress}:${bindPort}`, id);
  return holders;
}

/**
 * Throws `Fault('bind-taken')`, with the upstream's field, when one of a definition's upstreams would bind
 * what the agent or another service has.
 */
export function refuseTakenBinds(
  definition: ServiceDefinition,
  holders: ReadonlyMap<string, string>,
  own: readonly OwnBind[],
): void {
  definition.upstreams.forEach(({ bindAddress, bindPort }, index) => {
    const bind = `${bindAddress}:${bindPort}`;
    const field = `Connect.SidecarService.Proxy.Upstreams[${index}].LocalBindPort`;
    const mine = own.find(
      ({ address, port }) => port === bindPort && (address === bindAddress || wildcards.has(address)),
    );
    if (mine !== undefined)
      throw new Fault('bind-taken', `${bind} is the agent's own (${mine.option})`, { field });
    const holder = holders.get(bind);
    if (holder !== undefined && holder !== definition.id)
      throw new Fault('bind-taken', `${bind} is an upstream of "${holder}" already`, { field });
  });
}
