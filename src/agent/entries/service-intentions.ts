/** `service-intentions`: who may call a service, and with which requests. */

import { precedence, wildcard } from '../../proxy/intentions.ts';
import type { PermissionPolicy } from '../../proxy/policy.ts';
import type { IntentionView } from '../../proxy/view.ts';
import { type Fields, fault } from '../consul/fields.ts';
import type { StoredEntry } from '../port.ts';
import { entryFields, peers, places } from './common.ts';
import {
  echoed,
  type Form,
  list,
  needed,
  object,
  type Read,
  refused,
  text,
  understood,
  word,
} from './form.ts';
import { covers, permissionMatch, requestMatch, shadowed } from './matches.ts';

/** Sources of one destination, and permissions of one source. */
export const maxSources = 500;
const maxPermissions = 100;

export const party: Form<string> = text({
  most: 63,
  pattern: /^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/,
  what: 'a service name or "*"',
});
const action = word(['allow', 'deny']);
const noTokens = refused('JWT requirements are not supported');

const permission = object({
  Action: needed(action, 'must be set to allow or deny'),
  HTTP: needed(permissionMatch),
  JWT: noTokens,
});

/** What an intention says of one caller, in an entry as in the intention API. */
export const intentionFields = {
  Action: action,
  Permissions: list(permission, maxPermissions),
  Description: text({ most: 512 }),
};

const source = object(
  {
    Name: needed(party),
    ...intentionFields,
    Type: word(['consul']),
    Precedence: echoed,
    LegacyID: echoed,
    LegacyMeta: refused('belongs into the Meta of the entry'),
    LegacyCreateTime: echoed,
    LegacyUpdateTime: echoed,
    ...places,
    ...peers,
  },
  { check: checkAction },
);

/** An action, or permissions instead. */
export function checkAction(
  read: { readonly Action?: string; readonly Permissions?: readonly object[] },
  fields: Fields,
): void {
  if (read.Permissions !== undefined && read.Action !== undefined)
    throw fields.fault('conflicting-fields', 'Action', 'must be omitted if Permissions are specified');
  if (read.Permissions === undefined && read.Action === undefined)
    throw fields.missing('Action', 'must be set to allow or deny, or Permissions instead');
}

export type Permission = Read<typeof permission>;

/** One caller, with what follows from the names: Consul's number, ignored on write. */
export type IntentionSource = Read<typeof source> & { readonly Precedence: number; readonly Type: 'consul' };

const written = object(
  {
    ...entryFields('service-intentions', party),
    Sources: needed(list(source, maxSources), 'at least one source is required; delete the entry instead'),
    JWT: noTokens,
  },
  {
    check(read, fields) {
      const path = fields.at('Sources');
      read.Sources.forEach(({ Name, Permissions }, i) => {
        if (read.Sources.findIndex((other) => other.Name === Name) < i)
          throw fault('conflicting-fields', `${path}[${i}]`, `defines "${Name}" more than once`);
        if (Permissions !== undefined && read.Name === wildcard)
          throw fault(
            'unsupported',
            `${path}[${i}]`,
            'Permissions cannot be specified on intentions with wildcarded destinations',
          );
        const hidden = shadowed(Permissions ?? [], (a, b) => covers(a.HTTP, b.HTTP));
        if (hidden !== null)
          throw fault(
            'without-effect',
            `${path}[${i}]`,
            `Permissions[${hidden.at}] never decides: [${hidden.by}] comes before it and matches all that it does`,
          );
      });
    },
  },
);

export type ServiceIntentions = Omit<Read<typeof written>, 'Sources'> & {
  readonly Sources: readonly IntentionSource[];
};

/** Completed, and sorted by precedence as Consul does. */
export const serviceIntentions: Form<ServiceIntentions> = {
  schema: written.schema,
  read(value, path) {
    const read = written.read(value, path);
    if (read === undefined) return undefined;
    const Sources = read.Sources.map((one) => completed(one, read.Name));
    return { ...read, Sources: Sources.sort((a, b) => b.Precedence - a.Precedence) };
  },
};

function completed(read: Read<typeof source>, destination: string): IntentionSource {
  return { ...read, Precedence: precedence(read.Name, destination), Type: 'consul' };
}

/**
 * What the entries in force mean for the proxy. They are signed by operators, yet may have been written by a
 * newer version: whatever is not understood denies, for an allowance nobody can read must not let anyone in.
 */
export function intentionsOf(entries: readonly StoredEntry[]): IntentionView[] {
  return entries.filter((stored) => stored.kind === 'service-intentions').flatMap(viewsOf);
}

/** By entry, as they never change: what was read once is not read again, and stays the very same object. */
const viewsByEntry = new WeakMap<StoredEntry, readonly IntentionView[]>();

function viewsOf(stored: StoredEntry): readonly IntentionView[] {
  const known = viewsByEntry.get(stored);
  if (known !== undefined) return known;
  const views = sourcesOf(stored).map(
    ({ Name, Action, Permissions }): IntentionView => ({
      source: Name,
      destination: stored.name,
      action: Action ?? 'deny',
      permissions: Permissions?.map(permissionPolicy) ?? null,
      rule: `service-intentions/${stored.name}`,
    }),
  );
  viewsByEntry.set(stored, views);
  return views;
}

export function permissionPolicy({ Action, HTTP }: Permission): PermissionPolicy {
  return { action: Action, match: requestMatch(HTTP) };
}

/** The sources of an entry in force, the highest precedence first; read as `intentionsOf` says. */
export function sourcesOf({ name, entry }: StoredEntry): readonly IntentionSource[] {
  const whole = understood(serviceIntentions, entry);
  if (whole !== null && whole.Name === name) return whole.Sources;
  const { Sources, ...others } = entry;
  // What stands beside the sources may narrow every one of them, and so may one whose caller nobody can read.
  const isOnlySources =
    understood(written, { ...others, Sources: [{ Name: wildcard, Action: 'deny' }] })?.Name === name;
  const sources = isOnlySources && Array.isArray(Sources) ? Sources.map((one) => readOr(one, name)) : [null];
  if (sources.includes(null)) return [denied(wildcard, name)];
  const read = sources.filter((one) => one !== null);
  return read.sort((a, b) => b.Precedence - a.Precedence);
}

/** What is not understood of a caller denies it; null when not even the caller is. */
function readOr(value: unknown, destination: string): IntentionSource | null {
  const read = understood(source, value);
  if (read !== null && (read.Permissions === undefined || destination !== wildcard))
    return completed(read, destination);
  const Name =
    typeof value === 'object' && value !== null && 'Name' in value ? understood(party, value.Name) : null;
  return Name === null ? null : denied(Name, destination);
}

function denied(Name: string, destination: string): IntentionSource {
  return { Name, Action: 'deny', Precedence: precedence(Name, destination), Type: 'consul' };
}
