/**
 * Who may do what through the local API. The kernel says who calls (the uid that owns the calling socket);
 * what concerns the whole mesh needs an operator's token, whoever calls.
 */
import { Fault } from '../core.ts';
import type { ServiceDefinition } from './kinds.ts';

export type Caller =
  /** A TCP socket of this host. `uid` is null when the kernel could not be asked: such a caller only reads. */
  | { readonly type: 'local'; readonly uid: number | null }
  /** The unix socket. Its file mode, 0600, has decided who gets here: same rights as the agent's own user. */
  | { readonly type: 'unix' }
  | { readonly type: 'remote' };

export type Demand =
  /** Anything that changes nothing. */
  | { readonly type: 'read' }
  /** Changes this host: registrations, host checks, maintenance, leaving. */
  | { readonly type: 'host' }
  /** Changes one service of this host or its checks; undefined when there is no such service. */
  | { readonly type: 'service'; readonly service: ServiceDefinition | undefined }
  /** Reads the private key of a service: of those of this host that bear its name. No token opens it. */
  | { readonly type: 'key'; readonly services: readonly ServiceDefinition[] }
  /** Changes what holds for the whole mesh. */
  | { readonly type: 'mesh' };

export interface Authority {
  readonly agentUid: number;
  /** The request carried a valid operator token. */
  readonly operator: boolean;
}

/** Root, the agent's own user, and whoever may use its unix socket. */
export function ownsHost(caller: Caller, agentUid: number): boolean {
  if (caller.type === 'unix') return true;
  return caller.type === 'local' && (caller.uid === 0 || (caller.uid !== null && caller.uid === agentUid));
}

/** Null when allowed; else the refusal, `denied` (403) or `operator-needed` (403). */
export function refusalOf(caller: Caller, demand: Demand, authority: Authority): Fault | null {
  if (demand.type === 'key') return refusalOfKey(caller, demand.services, authority.agentUid);
  if (authority.operator) return null;
  if (demand.type === 'mesh')
    return new Fault(
      'operator-needed',
      'Permission denied: this changes the whole mesh and needs an operator token',
    );
  if (caller.type === 'remote')
    return new Fault('denied', 'Permission denied: callers from other hosts need an operator token');
  if (demand.type === 'read' || ownsHost(caller, authority.agentUid)) return null;
  const who = caller.type === 'local' && caller.uid !== null ? `uid ${caller.uid}` : 'an unknown user';
  if (demand.type === 'service') {
    const { service } = demand;
    if (
      service !== undefined &&
      service.uid !== null &&
      caller.type === 'local' &&
      caller.uid === service.uid
    )
      return null;
    const owners = service?.user ? `root, the agent's user and ${service.user}` : "root and the agent's user";
    return new Fault('denied', `Permission denied: only ${owners} may do this, not ${who}`);
  }
  return new Fault('denied', `Permission denied: only root and the agent's user may do this, not ${who}`);
}

/** A key never leaves its host, and on it only those who may be the service see it. */
function refusalOfKey(
  caller: Caller,
  services: readonly ServiceDefinition[],
  agentUid: number,
): Fault | null {
  if (ownsHost(caller, agentUid)) return null;
  if (caller.type === 'local' && caller.uid !== null && services.some(({ uid }) => uid === caller.uid))
    return null;
  return new Fault(
    'denied',
    "Permission denied: only root, the agent's user and the user that the service's definition names read its key",
  );
}

/** Ports below this need root to bind; the agent may be root, its callers are not. */
const firstUserPort = 1024;

/**
 * A service's user may change its definition, but not turn it into another service, hand it to another user
 * or have the agent bind ports that the user could not. Null when the change keeps to that, or when the
 * caller is more than that user.
 */
export function refusalOfReplacement(
  caller: Caller,
  authority: Authority,
  before: ServiceDefinition | undefined,
  after: ServiceDefinition,
): Fault | null {
  if (refusalOf(caller, { type: 'host' }, authority) === null) return null;
  const refusal = refusalOf(caller, { type: 'service', service: before }, authority);
  if (refusal !== null) return refusal;
  if (before?.name !== after.name)
    return new Fault('denied', 'Permission denied: a service keeps its name when its user changes it', {
      field: 'Name',
    });
  if (before.uid !== after.uid)
    return new Fault('denied', 'Permission denied: a service keeps its user when its user changes it', {
      field: 'User',
    });
  if (after.upstreams.some((upstream) => upstream.bindPort < firstUserPort))
    return new Fault('denied', `Permission denied: upstream ports below ${firstUserPort} need root`, {
      field: 'Connect.SidecarService.Proxy.Upstreams',
    });
  return null;
}
