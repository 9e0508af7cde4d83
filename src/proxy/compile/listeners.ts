/** Pass 7, listeners: the plaintext ports that applications of this host ask for, and who stands in whose way. */
import { byCodeUnit } from '../../core.ts';
import type { ListenerConflict, OutboundListener, SocketOwnerRule } from '../config.ts';
import type { LocalInstance, MeshView, ServiceView } from '../view.ts';
import { serviceNames } from './inbound.ts';
import { clusterIdOf } from './names.ts';

export interface Listeners {
  readonly outbound: readonly OutboundListener[];
  readonly conflicts: readonly ListenerConflict[];
}

/** Of listeners that bind the same port, or have the same id, the first stays; others are reported. */
export function listenersOf(
  view: MeshView,
  services: readonly ServiceView[],
  local: readonly LocalInstance[],
): Listeners {
  const outbound: OutboundListener[] = [];
  const conflicts: ListenerConflict[] = [];
  const ids = new Set<string>();
  const claims = new Claims();
  claims.take(view.inbound.address, view.inbound.port, 'inbound');
  for (const listener of wanted(view, services, local)) {
    const { id, address, port } = listener;
    const takenBy = ids.has(id) ? id : claims.holder(address, port);
    if (takenBy !== null) {
      conflicts.push({ id, address, port, takenBy });
      continue;
    }
    outbound.push(listener);
    ids.add(id);
    claims.take(address, port, id);
  }
  return { outbound, conflicts };
}

/** In the order in which they get their ports. */
function wanted(
  view: MeshView,
  services: readonly ServiceView[],
  local: readonly LocalInstance[],
): OutboundListener[] {
  const owner = socketOwner(local);
  const listeners: OutboundListener[] = [];
  if (view.outbound !== null)
    listeners.push({
      id: 'outbound',
      address: view.outbound.address,
      port: view.outbound.port,
      caller: owner,
      destination: null,
    });
  for (const instance of local)
    for (const upstream of instance.upstreams) {
      const destination = clusterIdOf(upstream.destination, '', upstream.datacenter, view.datacenter);
      listeners.push({
        id: `upstream/${instance.id}/${destination}`,
        address: upstream.bindAddress,
        port: upstream.bindPort,
        caller: { type: 'service', service: instance.service },
        destination,
      });
    }
  for (const { name, vip, vipPort } of services)
    if (vip !== null && vipPort !== null)
      listeners.push({ id: `vip/${name}`, address: vip, port: vipPort, caller: owner, destination: name });
  return listeners.sort(
    (a, b) => byCodeUnit(a.id, b.id) || byCodeUnit(a.address, b.address) || a.port - b.port,
  );
}

/** A uid that two services name speaks for neither: to guess is to hand out an identity. */
function socketOwner(local: readonly LocalInstance[]): SocketOwnerRule {
  const servicesByUid = new Map<number, Set<string>>();
  for (const { uid, service } of local)
    if (uid !== null) servicesByUid.set(uid, (servicesByUid.get(uid) ?? new Set()).add(service));
  const byUid: { [uid: string]: string } = {};
  for (const [uid, named] of [...servicesByUid].sort(([a], [b]) => a - b))
    if (named.size === 1) byUid[uid] = [...named][0]!;
  const names = serviceNames(local);
  const services = names.map((name) => ({ name, uids: uidsOf(name, local) }));
  return { type: 'socket-owner', byUid, otherwise: names.length === 1 ? names[0]! : null, services };
}

function uidsOf(name: string, local: readonly LocalInstance[]): number[] {
  const uids = new Set<number>();
  for (const { service, uid } of local) if (service === name && uid !== null) uids.add(uid);
  return [...uids].sort((a, b) => a - b);
}

/** Who has which address and port. */
class Claims {
  private readonly byPort = new Map<number, Map<string, string>>();

  /** Who has what cannot be bound beside this; the earliest of several, null for nobody. */
  holder(address: string, port: number): string | null {
    const taken = this.byPort.get(port);
    if (taken === undefined) return null;
    if (!isAnyAddress(address) && !taken.has('0.0.0.0') && !taken.has('::'))
      return taken.get(address) ?? null;
    for (const [other, id] of taken)
      if (other === address || isAnyAddress(other) || isAnyAddress(address)) return id;
    return null;
  }

  take(address: string, port: number, id: string): void {
    const taken = this.byPort.get(port) ?? new Map<string, string>();
    taken.set(address, id);
    this.byPort.set(port, taken);
  }
}

function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}
