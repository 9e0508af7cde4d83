/** What is wrong with the root, with those who hold it and with this host's certificates, and what to do. Pure. */
import type { Fault, HostId, Millis } from '../../core.ts';
import { backdateMs } from '../../trust/x509/root.ts';
import type { Finding } from '../port.ts';
import type { CaLogAlarm, CaRoot, CaStatus } from './ca-port.ts';

export interface CaFindingSources {
  readonly ca: CaStatus;
  /** Trustees that told two stories. */
  readonly alarms: readonly CaLogAlarm[];
  /** Since when nobody has reached a host; null while it is here. */
  readonly absentSince: (host: HostId) => Millis | null;
  /** Where the founder's root key ought to be, when it is not there; null else. */
  readonly missingRootKey: string | null;
  /** Shares of root keys on this host's disk that cannot be read. */
  readonly damagedShares: number;
  /** What of this host's part in the root cannot be used; see `Credentials`. */
  readonly damage: readonly Fault[];
}

/** A trustee that is away for less may be about to be heard of for the first time. */
const awayAfterMs = 5000;
/** Hosts take a second or two to believe a root, and a minute to renew what an older one signed. */
const introducedWithinMs = 60_000;
const retiredWithinMs = 10 * 60_000;
const expiryWarningMs = 10 * 60_000;
/** Without a quorum an operator needs more time than that. */
const expiryWithoutQuorumMs = 3_600_000;

export function caFindings(sources: CaFindingSources, now: Millis): Finding[] {
  return [
    ...alarmFindings(sources.alarms),
    ...damageFindings(sources),
    ...splitFindings(sources.ca),
    ...rootKeyFindings(sources),
    ...trusteeFindings(sources, now),
    ...reproachFindings(sources.ca),
    ...shareFindings(sources),
    ...sources.ca.roots.flatMap((root) => rootFindings(root, sources.ca, now)),
    ...certificateFindings(sources.ca, now),
    ...recoveryFindings(sources.ca),
  ];
}

function finding(grade: Finding['grade'], subject: string, detail: string, hint: string): Finding {
  return { grade, subject, detail, hint };
}

function time(at: Millis): string {
  return new Date(at).toISOString();
}

/** Names, at most eight of them. */
function named(names: readonly string[]): string {
  const shown = names.slice(0, 8).join(', ');
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}

function alarmFindings(alarms: readonly CaLogAlarm[]): Finding[] {
  return alarms.map(({ name, detail, evidence }) =>
    finding(
      evidence === '' ? 'warning' : 'critical',
      `trustee ${name}`,
      detail,
      evidence === ''
        ? 'a copy of its disk or of its machine is running beside it: stop the copy; if in doubt deny the host, and ' +
            'have it join anew'
        : 'it hides what it signed, or runs on an old copy of its disk: see starling ca log --verify; if in doubt deny ' +
            'the host and rotate the root',
    ),
  );
}

const resetHint =
  'starling ca reset-log there begins another log, and says so in it; what was signed before is then known to other ' +
  'trustees alone, so look first whether somebody wanted it gone';

/** None of it comes back by itself, and with an old copy of its disk this host would say other than it said. */
function damageFindings({ damage, ca }: CaFindingSources): Finding[] {
  const anew =
    ca.trustees.length > 1
      ? 'restore no old copy of its disk: another host takes its seat by itself; to be a trustee again, run starling ' +
        'leave there, move the data directory aside and have the host join anew'
      : 'no other host holds the root, and none can be given a part of it: with two other hosts that may be trustees, ' +
        'starling ca recover --new-root makes another, before certificates expire';
  return damage.map(({ code, message }) =>
    code === 'epoch-state-broken'
      ? finding('critical', 'trustee state', `${message}; this host takes no part as a trustee`, anew)
      : finding('critical', 'issuance log', `${message}; this host signs no certificates`, resetHint),
  );
}

/** Once a quorum holds the root, that of the founder is of no use to anybody. */
function rootKeyFindings({ missingRootKey, ca }: CaFindingSources): Finding[] {
  if (missingRootKey === null || ca.roots.find(({ active }) => active)?.generation !== 0) return [];
  return [
    finding(
      'critical',
      'root key',
      `${missingRootKey} is gone: no service of the mesh gets a certificate or a renewal`,
      'restore the file from a backup, with mode 600, and restart this agent; or, with two other hosts that may be ' +
        'trustees: starling ca recover --new-root',
    ),
  ];
}

function trusteeFindings({ ca, absentSince }: CaFindingSources, now: Millis): Finding[] {
  const { trustees, threshold } = ca;
  const away = trustees.flatMap((trustee) => {
    const since = trustee.alive ? null : absentSince(trustee.id);
    return since === null || now < since + awayAfterMs ? [] : [{ ...trustee, since }];
  });
  const left = trustees.length - away.length;
  if (left < threshold)
    return [
      finding(
        'critical',
        'quorum',
        `${threshold} of ${trustees.length} trustees sign certificates, and ${left === 0 ? 'none' : `only ${left}`} ` +
          `can be reached: ${named(away.map(({ name }) => name))} cannot; ${lastingText(ca)}`,
        'bring the agents there back, or the network between; nothing fails before certificates expire; if they are gone ' +
          `for good: starling ca recover${ca.cold === null ? ' --new-root' : ''}`,
      ),
    ];
  return away.map(({ name, since }) =>
    finding(
      'warning',
      `trustee ${name}`,
      `away since ${time(since)}: ${left} of ${trustees.length} are left, and ${threshold} must sign`,
      'bring its agent back; once it is away for long, another host that may be a trustee takes its seat',
    ),
  );
}

/** Nothing mends it by itself: a root that nobody here knows the history of is not believed because it says so. */
function splitFindings({ split }: CaStatus): Finding[] {
  if (split === null) return [];
  const { generation, isOurs, holders } = split;
  const detail = isOurs
    ? `${named(holders)} hold another one, made while they were cut off: what it signs is not believed here`
    : `${named(holders)} hold another one, which the operator made anew and more than half of all hosts stand by: ` +
      'what the one here signs is not believed there';
  const where = isOurs ? 'on each host whose own check says the same of that one' : 'on this host';
  return [
    finding(
      'critical',
      `root g${generation}`,
      detail,
      `${where}: starling leave, empty its data directory, and join again with a new token; services can be ` +
        'registered again at once',
    ),
  ];
}

/** Broken or in somebody else's hands: either way only an operator can find out which. */
function reproachFindings({ reproached }: CaStatus): Finding[] {
  return reproached.map(({ name, until }) =>
    finding(
      'warning',
      `trustee ${name}`,
      until === null
        ? 'is here, and did not do its part when shares of a root were made'
        : `cheated or said nothing while shares of a root were made: it is given no seat until ${time(until)}`,
      `starling check there, and its log, say whether it is broken; if it is not to be trusted: starling ca deny ${name}`,
    ),
  );
}

/** Nothing is wrong yet: what would make the loss of the quorum easy to mend. */
function recoveryFindings({ cold, epoch, generation, threshold, trustees }: CaStatus): Finding[] {
  if (threshold === 1) return [];
  if (cold === null)
    return [
      finding(
        'ok',
        'recovery',
        `no share of root g${generation} is put away: with the disks of ${trustees.length - threshold + 1} of its ` +
          `${trustees.length} trustees it would be lost, and another root needed`,
        'starling ca recovery-key create --out FILE, and keep the file off all hosts',
      ),
    ];
  if (cold.drill !== null && cold.drill.epoch >= epoch) return [];
  const looked = cold.drill === null ? 'never' : `last in epoch ${cold.drill.epoch}`;
  return [
    finding(
      'ok',
      'recovery',
      `what is put away of root g${generation} in epoch ${epoch} was not yet opened to see that it is good (${looked})`,
      'starling ca recover --drill --recovery-key-file FILE',
    ),
  ];
}

function lastingText({ identities }: CaStatus): string {
  const ends = identities.filter(({ notAfter }) => notAfter > 0).map(({ notAfter }) => notAfter);
  if (ends.length === 0) return 'this host has no certificates';
  return `this host's certificates last until ${time(Math.min(...ends))}`;
}

function shareFindings({ ca, damagedShares }: CaFindingSources): Finding[] {
  const findings: Finding[] = [];
  if (ca.isTrustee && !ca.holdsShare && ca.generation > 0)
    findings.push(
      finding(
        'warning',
        'share',
        `this host is a trustee and has no share of root g${ca.generation}: it counts as one fewer that can sign`,
        'the other trustees give it another by themselves within minutes, if a quorum of them is here',
      ),
    );
  if (damagedShares > 0)
    findings.push(
      finding(
        'warning',
        'share',
        `${damagedShares} shares of root keys on disk cannot be read`,
        'check the disk of the data directory; the other trustees replace what is lost',
      ),
    );
  return findings;
}

function rootFindings(root: CaRoot, { roots }: CaStatus, now: Millis): Finding[] {
  const { generation, state, waitingFor, notBefore } = root;
  if (waitingFor.length === 0) return [];
  const hosts = `${waitingFor.length === 1 ? 'host' : `${waitingFor.length} hosts`}: ${named(waitingFor)}`;
  if (state === 'next' && now > notBefore + backdateMs + introducedWithinMs)
    return [
      finding(
        'warning',
        `root g${generation}`,
        `cannot sign yet, for it is not known to be believed by ${hosts}`,
        'starling check there says what is wrong; a host that is gone for good is to leave: starling force-leave',
      ),
    ];
  const since = roots.find(({ active }) => active)?.activeSince ?? now;
  if (state === 'old' && now > since + retiredWithinMs)
    return [
      finding(
        'warning',
        `root g${generation}`,
        `cannot be retired yet, for certificates of it may be in use by ${hosts}`,
        'it ends by itself when the last of them expires; starling check there says whether renewals fail',
      ),
    ];
  return [];
}

function certificateFindings(ca: CaStatus, now: Millis): Finding[] {
  const findings: Finding[] = [];
  for (const { service, problem, notAfter } of ca.identities) {
    if (problem === null) continue;
    const left = notAfter - now;
    const isClose = left <= (ca.quorum ? expiryWarningMs : expiryWithoutQuorumMs);
    const until = left > 0 ? `; the present one lasts until ${time(notAfter)}` : '';
    findings.push(
      finding(isClose ? 'critical' : 'warning', `identity ${service}`, `${problem}${until}`, issuerHint(ca)),
    );
  }
  return findings;
}

function issuerHint({ threshold, trustees }: CaStatus): string {
  const names = named(trustees.map(({ name }) => name));
  return threshold === 1
    ? `certificates come from ${names}: is its agent up, reachable, and in possession of the root key?`
    : `certificates come from any ${threshold} of ${names}: are so many of them up and reachable?`;
}
