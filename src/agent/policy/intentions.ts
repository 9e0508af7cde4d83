/**
 * Single intentions, as Consul's intention API and `starling intention` speak of them, over the
 * `service-intentions` entries that hold them: one entry a destination, one source a caller.
 */
import { byCodeUnit, Fault } from '../../core.ts';
import { hlcMillis } from '../../gossip/replica/record.ts';
import { Admission, Permissions } from '../../proxy/http1/admission.ts';
import { precedence, ruleFor, rulesFor, wildcard } from '../../proxy/intentions.ts';
import type { Json } from '../consul/consul.ts';
import { type ParsedEntry, parseConfigEntry } from '../entries/entry.ts';
import { echoed, object, type Reading, refused, word } from '../entries/form.ts';
import {
  checkAction,
  type IntentionSource,
  intentionFields,
  intentionsOf,
  sourcesOf,
} from '../entries/service-intentions.ts';
import type { PolicyStore, StoredEntry } from '../port.ts';
import { headOf, type ImaginedRequest } from './imagined-request.ts';

const KIND = 'service-intentions';
/** How Go writes a time that is not known. */
const noTime = '0001-01-01T00:00:00Z';

const inNames = refused('there are no namespaces or partitions but "default"', ['default']);
const noPeers = refused('there is no peering between meshes');

const wishShape = {
  ...intentionFields,
  SourceType: word(['consul']),
  // They are in the query; a client that sends back what it read has them here too.
  SourceName: echoed,
  DestinationName: echoed,
  ID: echoed,
  Precedence: echoed,
  CreatedAt: echoed,
  UpdatedAt: echoed,
  Hash: echoed,
  CreateIndex: echoed,
  ModifyIndex: echoed,
  Meta: refused(`belongs on the ${KIND} entry of the destination`),
  SourceNS: inNames,
  DestinationNS: inNames,
  SourcePartition: inNames,
  DestinationPartition: inNames,
  SourcePeer: noPeers,
  SourceSamenessGroup: noPeers,
  JWT: refused('JWT requirements are not supported'),
};
const wishForm = object(wishShape, { check: checkAction });

/** What is wanted for one pair. */
export type IntentionWish = Pick<Reading<typeof wishShape>, 'Action' | 'Permissions' | 'Description'>;

/** What `PUT connect/intentions/exact` takes. */
export const intentionSchema = wishForm.schema;

/** Reads the body of `PUT connect/intentions/exact`. `Fault` with the field's path. */
export function parseIntention(input: unknown): IntentionWish {
  const { SourceType: _, ...wish } = wishForm.read(input, '')!;
  return wish;
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
  return parseConfigEntry({
    ...(stored?.entry ?? { Kind: KIND, Name: destination }),
    Sources: [...others, { Name: source, ...wish }],
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

/** What would become of a call. */
export interface IntentionVerdict {
  readonly allowed: boolean;
  /** The entry that says so; null when it is the default. */
  readonly rule: string | null;
  /** It is for each request to be allowed: without one in question, as in Consul, none counts as allowed. */
  readonly byRequest: boolean;
}

/**
 * Whether `source` may call `destination`, at layer 7 with this very request. Judged by the functions of the proxy
 * itself. `Fault('bad-query')` for a request that could not be sent.
 */
export function checkIntention(
  policy: PolicyStore,
  defaultAction: 'allow' | 'deny',
  source: string,
  destination: string,
  request: ImaginedRequest | null = null,
): IntentionVerdict {
  const rule = ruleFor(rulesFor(destination, intentionsOf(policy.list(KIND))), source);
  if (rule === null) return { allowed: defaultAction === 'allow', rule: null, byRequest: false };
  if (rule.permissions === null)
    return { allowed: rule.action === 'allow', rule: rule.rule, byRequest: false };
  return {
    allowed:
      request !== null &&
      isPermitted(new Permissions(rule.permissions, rule.rule), source, destination, request),
    rule: rule.rule,
    byRequest: true,
  };
}

function isPermitted(
  permissions: Permissions,
  source: string,
  destination: string,
  request: ImaginedRequest,
): boolean {
  const { bytes, head } = headOf(request, destination);
  return new Admission(source, destination, permissions, null).refusal(bytes, head, 0) === null;
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
    ...(source.Permissions === undefined ? { Action: source.Action } : { Permissions: source.Permissions }),
    Precedence: precedence(source.Name, stored.name),
    ...(Meta === undefined ? {} : { Meta }),
    CreatedAt: noTime,
    UpdatedAt: new Date(hlcMillis(stored.hlc)).toISOString(),
    CreateIndex: stored.createIndex,
    ModifyIndex: stored.modifyIndex,
  };
}
