/** Who stands behind a connection of this host, and what to say when it is nobody that the mesh knows. */
import type { SocketOwnerRule } from './config.ts';

/** `problem` says in a sentence why no service could be told, and what would change that. */
export type Caller =
  | { readonly service: string; readonly problem: null }
  | { readonly service: null; readonly problem: string };

/** Services named in a refusal; a host that runs more has them listed by its API. */
const maxNamed = 8;

export function callerNamed(service: string): Caller {
  return { service, problem: null };
}

/** The service for which the owner of a socket speaks; `uid` is null when the kernel did not tell. */
export function callerOf(rule: SocketOwnerRule, uid: number | null): Caller {
  if (uid === null)
    return {
      service: null,
      problem: 'the kernel tells no owner of the calling socket: it was closed before it was looked at',
    };
  const service = rule.byUid[String(uid)] ?? rule.otherwise;
  return service === null ? { service, problem: problemOf(rule, uid) } : callerNamed(service);
}

function problemOf({ services }: SocketOwnerRule, uid: number): string {
  const owner = `uid ${uid} owns the calling socket`;
  if (services.length === 0)
    return `${owner}, and no service is registered on this host: register the one that calls`;
  const sharing = services.filter((service) => service.uids.includes(uid)).map(({ name }) => name);
  if (sharing.length > 1)
    return `${owner}, and ${sharing.join(' and ')} all name that user: give each a user of its own`;
  const named = services.slice(0, maxNamed).map(({ name, uids }) => `${name} (${ownersOf(uids)})`);
  const more = services.length > maxNamed ? `, ${services.length - maxNamed} more` : '';
  return (
    `${owner}, and several services run on this host, none for that user: ${named.join(', ')}${more}. ` +
    `Add "user": "${uid}" to the definition of the one that calls, or let it declare an upstream`
  );
}

function ownersOf(uids: readonly number[]): string {
  return uids.length === 0 ? 'no user' : `uid ${uids.join(', ')}`;
}
