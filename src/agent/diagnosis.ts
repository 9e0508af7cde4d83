/** The agent's diagnosis of itself: what is wrong, how bad it is, and what to do about it. Pure. */
import type { HostId } from '../core.ts';
import type { ListenerConflict } from '../proxy/config.ts';
import type { DataPlaneStats } from '../proxy/dataplane.ts';
import { caFindings } from './ca/ca-findings.ts';
import { denialFindings } from './ca/denials.ts';
import { forcedDeparture } from './catalog/member-status.ts';
import type { AgentCore } from './core.ts';
import { shortId } from './kinds.ts';
import { policyFindings } from './policy/policy-findings.ts';
import type { Finding } from './port.ts';
import type { Deed } from './quarantine.ts';

/** What only the shell knows. */
export interface ShellFacts {
  readonly dataPlane: DataPlaneStats | null;
  /** Listeners that another one keeps from being there. */
  readonly conflicts: readonly ListenerConflict[];
  readonly fileProblems: readonly string[];
  readonly storeProblem: string | null;
  readonly damagedEntries: number;
  /** Where the founder's root key ought to be, when it is not there; null else. */
  readonly missingRootKey: string | null;
  /** Shares of root keys on disk that could not be read. */
  readonly damagedShares: number;
  /** How late timers fire, milliseconds, the worst of the last minute. */
  readonly loopLagMs: number;
  /** The same of the thread that speaks for this host to the others' probes. */
  readonly membershipLagMs: number;
  /** Within this 99 of 100 writes of the last minute or two reached the disk; null when there were none. */
  readonly slowestWritesMs: number | null;
}

const lagWarningMs = 200;
/** A sync to a disk that is well takes a few milliseconds. */
const slowWriteMs = 200;

/** Findings, the worst first; `ok` is what is well, and what could be done before anything is wrong. */
export function diagnose(core: AgentCore, facts: ShellFacts, now: number): Finding[] {
  const findings = [
    ...trustFindings(core, facts, now),
    ...denialFindings(core.trust, core.self),
    ...latecomerFindings(core),
    ...membershipFindings(core),
    ...detourFindings(core),
    ...claimFindings(core),
    ...departureFindings(core, now),
    ...clockFindings(core),
    ...maintenanceFindings(core),
    ...policyFindings(core.policies),
    ...quarantineFindings(core),
    ...listenerFindings(facts.dataPlane),
    ...facts.conflicts.map(({ id, address, port, takenBy }) =>
      finding(
        'critical',
        `listener ${id}`,
        `${address}:${port} is taken by ${takenBy}; this one is left out`,
        'give one of the two another port',
      ),
    ),
    ...storeFindings(facts),
    ...facts.fileProblems.map((detail) =>
      finding(
        'warning',
        'definitions',
        detail,
        'mend the file; its last good definitions stay in force until then',
      ),
    ),
  ];
  findings.push(...lagFindings(core, facts));
  if (findings.every(({ grade }) => grade === 'ok'))
    findings.unshift(finding('ok', 'agent', 'nothing to report', ''));
  const order = { critical: 0, warning: 1, ok: 2 };
  return findings.sort((a, b) => order[a.grade] - order[b.grade]);
}

function finding(grade: Finding['grade'], subject: string, detail: string, hint: string): Finding {
  return { grade, subject, detail, hint };
}

function membershipFindings(core: AgentCore): Finding[] {
  const findings: Finding[] = [];
  const others = core.catalog.allHosts().filter(({ id }) => id !== core.self);
  for (const { id, value, state, since } of others) {
    if (state !== 'down' && state !== 'suspect') continue;
    const detail = `${state} since ${new Date(since).toISOString()}`;
    const hint = `is the agent running there, and ${value.address}:${value.gossipPort} reachable from here?`;
    const wayOut = ` If it is gone for good: starling force-leave ${id}`;
    findings.push(
      state === 'down'
        ? finding('critical', `host ${value.name}`, detail, hint + wayOut)
        : finding('warning', `host ${value.name}`, detail, hint),
    );
  }
  const alone =
    others.some(({ state }) => state !== 'left') && !others.some(({ state }) => state === 'alive');
  if (alone)
    findings.push(
      finding(
        'critical',
        'membership',
        'no other host is reachable',
        'check this host’s network and the gossip port’s firewall; or an operator denied this host: ask `starling ca deny list` on another',
      ),
    );
  if (!core.isSynchronised())
    findings.push(
      finding(
        'warning',
        'membership',
        'the mesh’s records have not arrived yet',
        'check the connection to the host it joined through',
      ),
    );
  return findings;
}

/** Hosts that are not reached the straight way. Whether one is alive is another finding's business. */
function detourFindings({ catalog, gossip }: AgentCore): Finding[] {
  const { withoutDatagrams, throughHelpers } = gossip.stats().membership;
  return catalog.allHosts().flatMap(({ id, state, value: { name, address, gossipPort } }) => {
    if (state !== 'alive') return [];
    if (throughHelpers.includes(id))
      return finding(
        'warning',
        `host ${name}`,
        'answers other hosts and not this one: the path between the two is closed, one way at least',
        `let TCP and UDP between here and ${address}:${gossipPort} through, both ways; services here that call it fail`,
      );
    if (!withoutDatagrams.includes(id)) return [];
    return finding(
      'warning',
      `host ${name}`,
      'answers over TCP only: UDP seems blocked between here and there',
      `let UDP to ${address}:${gossipPort} and back through every firewall on the way`,
    );
  });
}

/** Hosts whose word on others has proven false: it has cost this one a look each time. */
function claimFindings({ catalog, gossip }: AgentCore): Finding[] {
  return gossip
    .stats()
    .membership.discredited.map((id) =>
      finding(
        'warning',
        `host ${catalog.host(id)?.value.name ?? shortId(id)}`,
        'says of hosts that answer here that they are down: it is cut off from them, or lies',
        'look at its network (starling check there); if nothing is wrong with that, set the host up anew',
      ),
    );
}

/** Hosts that count as left by the word of somebody who is trusted no more: it stays in force, but look twice. */
function departureFindings({ catalog, gossip, trust }: AgentCore, now: number): Finding[] {
  return catalog.allHosts().flatMap((host) => {
    const departure = forcedDeparture(host, (slot) => gossip.replica.get(slot));
    if (departure === null || trust.operatorStanding(departure.by, now) !== 'revoked') return [];
    return finding(
      'warning',
      `host ${host.value.name}`,
      `counts as left by the word of operator ${shortId(departure.by)}, whose token was revoked since`,
      'nothing to do if it is gone; if not, start its agent there: it takes the word back by itself',
    );
  });
}

/** Halves of a split mesh may each give away the last use of a token. */
function latecomerFindings({ self, trust }: AgentCore): Finding[] {
  return trust.latecomers().map(({ host, name, grantId }) => {
    const detail = `came too late for the last use of token ${shortId(grantId)}, which the other half of a split mesh gave away`;
    return host === self
      ? finding(
          'critical',
          'this host',
          detail,
          'set it up anew, with an empty data directory and another token',
        )
      : finding(
          'warning',
          `host ${name}`,
          detail,
          `put it out with \`starling ca deny ${name}\`, and set it up anew`,
        );
  });
}

/** Clocks order what operators write, and bound certificates. */
function clockFindings({ catalog, gossip }: AgentCore): Finding[] {
  const { ownMs, members } = gossip.stats().clocks;
  const hint =
    'run a time daemon there (chrony, systemd-timesyncd): clocks order policy and bound certificates';
  if (ownMs !== null)
    return [
      finding(
        'warning',
        'clock',
        `this host is ${offsetText(ownMs)} most others`,
        hint.replace('there', 'here'),
      ),
    ];
  return members.map(({ id, aheadMs }) =>
    finding(
      'warning',
      `host ${catalog.host(id)?.value.name ?? shortId(id)}`,
      `its clock is ${offsetText(aheadMs)} this host's`,
      hint,
    ),
  );
}

function offsetText(aheadMs: number): string {
  return `${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
}

function lagFindings(core: AgentCore, { loopLagMs, membershipLagMs }: ShellFacts): Finding[] {
  const findings: Finding[] = [];
  const hint = 'the host is short of CPU: give it more, or move load away';
  const late = (lagMs: number) => `timers fired up to ${Math.round(lagMs)} ms late`;
  if (loopLagMs > lagWarningMs) findings.push(finding('warning', 'event loop', late(loopLagMs), hint));
  const { stalls } = core.gossip.stats().membership;
  if (membershipLagMs > lagWarningMs)
    findings.push(
      finding(
        'warning',
        'membership thread',
        `${late(membershipLagMs)}, and it found itself stopped ${stalls} times since the start`,
        `others may take this host for dead: ${hint}`,
      ),
    );
  return findings;
}

/** Of the root, of those who hold it, and of this host's certificates. */
function trustFindings({ credentials }: AgentCore, facts: ShellFacts, now: number): Finding[] {
  if (credentials === null) return [];
  const absentSince = (host: HostId) => credentials.standing.absentSince(host);
  const alarms = credentials.alarms();
  const { damage } = credentials;
  return caFindings({ ...facts, ca: credentials.ca(now), alarms, damage, absentSince }, now);
}

/** As many are told one by one: one bug may fail on many. */
const mostQuarantined = 10;

const quarantinedTo: { readonly [deed in Deed]: string } = {
  judge: 'it stays outside, and other hosts do not get it from here',
  apply: 'it counts as absent here, and is passed on',
};

/** Records that this agent's own code failed on. */
function quarantineFindings({ catalog, knowledge }: AgentCore): Finding[] {
  const all = knowledge.quarantine.all();
  const findings = all.slice(0, mostQuarantined).map(({ record: { author, kind, key }, deed, error }) => {
    const what = key === '' ? kind : `${kind}/${key}`;
    return finding(
      'critical',
      `record ${what} of ${catalog.host(author)?.value.name ?? shortId(author)}`,
      `this agent failed to ${deed} it (${error}): ${quarantinedTo[deed]}`,
      'a bug of this agent: report it with the line record-quarantined of its log; until then write the record anew',
    );
  });
  const more = all.length - findings.length;
  if (more > 0) findings.push(finding('critical', 'records', `this agent failed on ${more} more`, ''));
  return findings;
}

/** Meant by somebody, and easily forgotten by everybody. */
function maintenanceFindings({ catalog, self }: AgentCore): Finding[] {
  const host = catalog.host(self);
  return [...(host?.checks.values() ?? [])]
    .filter(({ value }) => value.type === 'maintenance')
    .map(({ value: { serviceId, notes } }) =>
      finding(
        'warning',
        serviceId === '' ? `host ${host?.value.name}` : `service ${serviceId}`,
        `in maintenance: ${notes}`,
        `back into rotation: starling maint --disable${serviceId === '' ? '' : ` --service ${serviceId}`}`,
      ),
    );
}

function listenerFindings(dataPlane: DataPlaneStats | null): Finding[] {
  return (dataPlane?.listeners ?? [])
    .filter(({ error }) => error !== null)
    .map(({ id, address, port, error }) =>
      finding(
        'critical',
        `listener ${id}`,
        `${address}:${port}: ${error}`,
        'another process has the address, or this one may not bind it',
      ),
    );
}

function storeFindings({ storeProblem, damagedEntries, slowestWritesMs }: ShellFacts): Finding[] {
  const findings: Finding[] = [];
  if (slowestWritesMs !== null && slowestWritesMs > slowWriteMs)
    findings.push(
      finding(
        'warning',
        'disk',
        `one write in a hundred takes up to ${slowestWritesMs} ms to reach it`,
        'every registration waits for the disk: put the data directory on a faster one, or move load away',
      ),
    );
  if (storeProblem !== null)
    findings.push(
      finding(
        'critical',
        'store',
        storeProblem,
        'make room on the disk of the data directory; writes are refused until then',
      ),
    );
  if (damagedEntries > 0)
    findings.push(
      finding(
        'warning',
        'store',
        `${damagedEntries} damaged entries were left out`,
        'they come back from other hosts by themselves; check the disk',
      ),
    );
  return findings;
}
