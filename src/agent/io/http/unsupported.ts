/** Paths of Consul's that Starling knows and does not serve: each answers one clear sentence. */
import { Fault } from '../../../core.ts';

const needsAgreement = 'needs agreement between hosts, which Starling does without';

const sentences: readonly (readonly [prefix: string, sentence: string])[] = [
  ['/v1/kv', `The key-value store is not offered: it ${needsAgreement}.`],
  ['/v1/session', `Sessions and locks are not offered: they are a thing that ${needsAgreement}.`],
  ['/v1/txn', `Transactions are not offered: they are a thing that ${needsAgreement}.`],
  ['/v1/query', 'Prepared queries are not offered; use a service-resolver.'],
  ['/v1/event', 'User events are not offered.'],
  [
    '/v1/coordinate',
    'Coordinates are not handed out; ?near uses them, and /v1/mesh/members tells round trips.',
  ],
  ['/v1/snapshot', 'Snapshots of the state are not offered at this path.'],
  ['/v1/operator', 'There are no servers, so there is no Raft, autopilot or keyring to operate.'],
  ['/v1/peering', 'Cluster peering is not offered.'],
  [
    '/v1/catalog/register',
    'The catalog holds what each agent says of its own host; register with that agent.',
  ],
  ['/v1/catalog/deregister', 'The catalog holds what each agent says of its own host; deregister there.'],
  ['/v1/catalog/gateway-services', 'Gateways are not offered.'],
  ['/v1/health/ingress', 'Ingress gateways are not offered.'],
  ['/v1/connect/ca/configuration', 'The certificate authority is configured by the mesh itself.'],
  ['/v1/connect/intentions', 'Intentions are addressed by source and destination, not by id.'],
  ['/v1/exported-services', 'Exported services are not offered: the mesh is one.'],
  ['/v1/internal', 'Paths under /v1/internal are not an interface.'],
  ['/v1/agent/reload', 'Definitions on disk are watched; there is nothing to reload.'],
  ['/v1/agent/monitor', "Logs are written to the agent's standard output."],
  ['/v1/agent/token', 'ACL tokens are not offered; operators hold keys.'],
];

/** `Fault('not-built')` (501) for such a path, `acl-disabled` (401) for ACL paths, null for any other. */
export function notBuilt(path: string): Fault | null {
  const under = (prefix: string): boolean => path === prefix || path.startsWith(`${prefix}/`);
  if (under('/v1/acl')) return new Fault('acl-disabled', 'ACL support disabled');
  const found = sentences.find(([prefix]) => under(prefix));
  return found === undefined ? null : new Fault('not-built', found[1]);
}
