/**
 * Single intentions, as Consul's intention API and `starling intention` speak of them, over the
 * `service-intentions` entries that hold them: one entry a destination, one source a caller.
 */
import { byCodeUnit, Fault } from '../core.ts';
import { hlcMillis } from '../gossip/record.ts';
import { decide, precedence, rulesFor, wildcard } from '../proxy/intentions.ts';
import type { Json } from './consul.ts';
import {
  type IntentionSource,
  intentionsOf,
  type ParsedEntry,
  parseConfigEntry,
  sourcesOf,
} from './entries.ts';
import { Fields } from './fields.ts';
import type { PolicyStore, StoredEntry } from './port.ts';

const KIND = 'service-intentions';
/** How Go writes a time that is not known. */
const noTime = '0001-01-01T00:00:00Z';

export interface IntentionWish {
  readonly action: 'allow' | 'deny';
  readonly description: string;
}

/** Reads the body of `PUT connect/intentions/exact`. `Fault` with the field's path. */
export function parseIntention(input: unknown): IntentionWish {
  const fields = new Fields(input, '');
  for (const name of [
    'ID',
    'SourceName',
    'DestinationName',
    'Precedence',
    'CreatedAt',
    'UpdatedAt',
    'Hash',
    'CreateIndex',
    'ModifyIndex',
  ])
    fields.value(name);
  for (const name of ['SourceNS', 'DestinationNS', 'SourcePartition', 'DestinationPartition'])
    fields.unsupported(name, 'there are no namespaces or partitions but "default"', ['default']);
  for (const name of ['SourcePeer', 'SourceSamenessGroup', 'JWT'])
    fields.unsupported(name, 'is not supported');
  fields.unsupported('Permissions', 'permissions by path, header or method are not supported yet');
  fields.unsupported('Meta', `belongs on the ${KIND} entry of the destination`);
  fields.word('SourceType', ['consul'], 'consul');
  if (fields.string('Action', '') === '') throw fields.missing('Action', 'is required: allow or deny');
  const action = fields.word('Action', ['allow', 'deny'] as const, 'deny');
  const description = fields.string('Description', '', 512);
  fields.end();
  return { action, description };
}

/** The destination's entry with the source added or replaced, to be written with `put-config-entry`. */
export function upsertIntention(
  policy: PolicyStore,
  source: string,
  destination: string,
  wish: IntentionWish,
): ParsedEntry {
  const stored = policy.get(KIND, destination);
  const others = stored === undefined ? [] : othersIn(stored, source);
  const added = { Name: source, Action: wish.action, Description: wish.description };
  return parseConfigEntry({
    ...(stored?.entry ?? { Kind: KIND, Name: destination }),
    Sources: [...others, added],
  });
}

/**
 * The destination's entry without the source; null when nothing is left of it, so that it is to be deleted.
 * `Fault('unknown-intention')` when there is no such intention.
 */
export function removeIntention(
  policy: PolicyStore,
  source: string,
  destination: string,
): ParsedEntry | null {
  const stored = policy.get(KIND, destination);
  if (stored === undefined || !sourcesOf(stored).some(({ Name }) => Name === source))
    throw new Fault('unknown-intention', `there is no intention ${source} -> ${destination}`);
  const others = othersIn(stored, source);
  return others.length === 0 ? null : parseConfigEntry({ ...stored.entry, Sources: others });
}

/** The other sources of an entry just as they were written: what is not understood must not be rewritten. */
function othersIn(stored: StoredEntry, source: string): unknown[] {
  const { Sources } = stored.entry;
  if (!Array.isArray(Sources)) return [];
  return Sources.filter((written: unknown) => (written as { Name?: unknown } | null)?.Name !== source);
}

/** Every intention in Consul's JSON: the highest precedence first, then by destination and source. */
export function listIntentions(policy: PolicyStore): Json[] {
  return policy
    .list(KIND)
    .flatMap((stored) => sourcesOf(stored).map((source) => ({ stored, source })))
    .sort(
      (a, b) =>
        b.source.Precedence - a.source.Precedence ||
        byCodeUnit(a.stored.name, b.stored.name) ||
        byCodeUnit(a.source.Name, b.source.Name),
    )
    .map(({ stored, source }) => intentionJson(stored, source));
}

/** The intention for exactly this pair, wildcards taken literally; null when there is none. */
export function exactIntention(policy: PolicyStore, source: string, destination: string): Json | null {
  const stored = policy.get(KIND, destination);
  const found = stored && sourcesOf(stored).find(({ Name }) => Name === source);
  return stored === undefined || found === undefined ? null : intentionJson(stored, found);
}

/** Every intention that concerns a service on one side, the one that decides first. */
export function matchIntentions(policy: PolicyStore, by: 'source' | 'destination', name: string): Json[] {
  const side = by === 'source' ? 'SourceName' : 'DestinationName';
  return listIntentions(policy).filter(
    (intention) => intention[side] === name || intention[side] === wildcard,
  );
}

/** Whether `source` may call `destination`, and the entry that says so; null when it is the default. */
export function checkIntention(
  policy: PolicyStore,
  defaultAction: 'allow' | 'deny',
  source: string,
  destination: string,
): { readonly allowed: boolean; readonly rule: string | null } {
  const rules = rulesFor(destination, intentionsOf(policy.list(KIND)));
  const { action, rule } = decide(rules, defaultAction, source);
  return { allowed: action === 'allow', rule };
}

function intentionJson(stored: StoredEntry, source: IntentionSource): Json {
  const { Meta } = stored.entry;
  return {
    ID: '',
    Description: source.Description ?? '',
    SourceNS: 'default',
    SourceName: source.Name,
    DestinationNS: 'default',
    DestinationName: stored.name,
    SourceType: 'consul',
    Action: source.Action,
    Precedence: precedence(source.Name, stored.name),
    ...(Meta === undefined ? {} : { Meta }),
    CreatedAt: noTime,
    UpdatedAt: new Date(hlcMillis(stored.hlc)).toISOString(),
    CreateIndex: stored.createIndex,
    ModifyIndex: stored.modifyIndex,
  };
}
