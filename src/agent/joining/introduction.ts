/**
 * What a host shows to one that was away when it joined, and knows nobody any more who could tell of it: its own
 * admission with its sponsor's word, the grant behind it, and where it is. A sponsor that came meanwhile as well is
 * introduced first, by its own. It travels in the clear, and nothing in it is believed unchecked. Pure.
 */
import { ByteReader, ByteWriter, Fault, type HostId, type Verify } from '../../core.ts';
import { decodeRecord } from '../../gossip/replica/codec.ts';
import { type Record, slotOf } from '../../gossip/replica/record.ts';
import { parseWelcome, provesWelcome, type WelcomeValue, welcomeIn } from '../../trust/admission/welcome.ts';
import type { TrustState } from '../../trust/state.ts';
import { ADMISSION, GRANT, HOST, WELCOME } from '../kinds.ts';

const version = 1;
/** An admission, a welcome, where the host is, its grant and those that made its author an operator. */
const maxRecords = 8;
/** As much as a datagram of the join port carries. */
const maxBytes = 8000;
/** The longest row of sponsors that is shown. */
const maxHosts = 1024;

/** The record of a slot, if the replica holds one. */
export type RecordOf = (slot: string) => Record | undefined;

/**
 * What to send to a stranger, a datagram each, in that order: the sponsor's sponsor, the sponsor, this host. Empty
 * where there is no word of a sponsor, as for the founder, whom everybody knows.
 */
export function introductionsOf(self: HostId, trust: TrustState, recordOf: RecordOf): Uint8Array[] {
  const introductions: Uint8Array[] = [];
  const seen = new Set<HostId>();
  for (let host = self; seen.size < maxHosts && !seen.has(host); ) {
    seen.add(host);
    const welcome = recordOf(own(host, WELCOME));
    const admission = recordOf(own(host, ADMISSION));
    if (welcome === undefined || admission === undefined) break;
    const where = host === self ? recordOf(own(host, HOST)) : undefined;
    const grants = grantsBehind(host, trust, recordOf);
    introductions.unshift(encode([...grants, admission, welcome, ...(where === undefined ? [] : [where])]));
    const word = welcomeIn(welcome.value);
    if (word === null || trust.isDenied(word.sponsor)) break;
    host = word.sponsor;
  }
  return introductions.filter(({ length }) => length <= maxBytes);
}

function own(author: HostId, kind: string): string {
  return slotOf({ scope: 'host', author, kind, key: '' });
}

/** The grant that admitted a host; before it those of the operator who made it, unless that is the first. */
function grantsBehind(host: HostId, trust: TrustState, recordOf: RecordOf): Record[] {
  const grant = recordOf(grantSlot(trust.entryOf(host)?.grantId ?? ''));
  if (grant === undefined) return [];
  const makers = trust.grantsTo(grant.author).map((id) => recordOf(grantSlot(id)));
  return [...makers.filter((maker) => maker !== undefined).slice(0, maxRecords - 4), grant];
}

function grantSlot(id: string): string {
  return slotOf({ scope: 'policy', author: '', kind: GRANT, key: id });
}

function encode(records: readonly Record[]): Uint8Array {
  const writer = new ByteWriter().u8(version).u8(records.length);
  for (const { bytes } of records) writer.bytes(bytes);
  return writer.done();
}

/** What an introduction says, with nothing proven. */
export interface Introduction {
  readonly host: HostId;
  /** Its admission. */
  readonly admission: Record;
  readonly welcome: WelcomeValue;
  /** Where it is; null of one that is introduced as a sponsor alone. */
  readonly where: Record | null;
  /** All of it, in the order in which it is to be taken in. */
  readonly records: readonly Record[];
}

/**
 * Throws `Fault('malformed')` for anything that is not one host's admission and welcome, in that order, with grants
 * before and where it is behind; `Fault('welcome-malformed')` too.
 */
export function decodeIntroduction(bytes: Uint8Array): Introduction {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== version) throw new Fault('malformed', 'an introduction of another version');
  const count = reader.u8();
  if (count > maxRecords) throw new Fault('malformed', `an introduction of ${count} records`);
  const records = Array.from({ length: count }, () => decodeRecord(reader.bytes(maxBytes)));
  reader.end();
  const at = records.findIndex(({ kind }) => kind !== GRANT);
  const [admission, welcome, where, ...more] = at < 0 ? [] : records.slice(at);
  const host = admission?.author ?? '';
  const isIts = (record: Record | undefined, kind: string): boolean =>
    record?.scope === 'host' && record.kind === kind && record.author === host && record.key === '';
  const isWhole =
    records.slice(0, at).every(({ scope }) => scope === 'policy') &&
    isIts(admission, ADMISSION) &&
    isIts(welcome, WELCOME) &&
    (where === undefined || isIts(where, HOST)) &&
    more.length === 0;
  if (!isWhole) throw new Fault('malformed', 'an introduction is of one host');
  const word = parseWelcome(welcome!.value);
  return { host, admission: admission!, welcome: word, where: where ?? null, records };
}

/**
 * Throws `Fault` unless a member of this mesh let the host in: `denied`, `sponsor-unknown`, `bad-welcome`. Whether
 * the records themselves are good is for the replica to judge.
 */
export function judgeIntroduction(
  { host, admission, welcome }: Introduction,
  trust: TrustState,
  verify: Verify,
): void {
  if (trust.isDenied(host)) throw new Fault('denied', 'this host was denied by an operator');
  if (!trust.isAdmitted(welcome.sponsor))
    throw new Fault('sponsor-unknown', 'no member that is known here let it in');
  const welcomed = { genesisHash: trust.genesis.hash, host, admission: admission.value };
  if (!provesWelcome(welcome, welcomed, verify))
    throw new Fault('bad-welcome', 'not signed by the sponsor that it names');
}
