/** What `check` says of the root and of those who hold it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { caFindings } from '../../../../src/agent/ca/ca-findings.ts';
import type { CaLogAlarm, CaStatus } from '../../../../src/agent/ca/ca-port.ts';
import type { Finding } from '../../../../src/agent/port.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

function ofThree(): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first, flock.join('second', first, token), flock.join('third', first, token)];
  for (const host of hosts) host.register(`on-${host.name}`);
  flock.run(130_000);
  return { flock, hosts };
}

interface More {
  readonly ca?: Partial<CaStatus>;
  readonly alarms?: readonly CaLogAlarm[];
  readonly missingRootKey?: string;
  readonly damagedShares?: number;
}

function findings(host: FlockHost, more: More = {}): Finding[] {
  const credentials = host.core.credentials!;
  const sources = {
    alarms: more.alarms ?? [],
    missingRootKey: more.missingRootKey ?? null,
    damagedShares: more.damagedShares ?? 0,
    damage: credentials.damage,
    ca: { ...credentials.ca(host.flock.now), ...more.ca },
    absentSince: (id: string) => credentials.standing.absentSince(id),
  };
  return caFindings(sources, host.flock.now).filter(({ grade }) => grade !== 'ok');
}

/** What could be done before anything is wrong. */
function advice(host: FlockHost, ca: Partial<CaStatus>): string[] {
  const credentials = host.core.credentials!;
  const sources = {
    alarms: [],
    missingRootKey: null,
    damagedShares: 0,
    damage: [],
    ca: { ...credentials.ca(host.flock.now), ...ca },
    absentSince: () => null,
  };
  const found = caFindings(sources, host.flock.now).filter(({ grade }) => grade === 'ok');
  return found.map(({ subject, detail, hint }) => `${subject}: ${detail} -> ${hint}`);
}

const titles = (found: readonly Finding[]): string[] =>
  found.map(({ grade, subject }) => `${grade} ${subject}`);

test('one trustee that is away is a warning, too many of them are the loss of the quorum', () => {
  const { flock, hosts } = ofThree();
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  assert.deepEqual(findings(first), []);
  third.kill();
  flock.run(30_000);
  const [away, ...others] = findings(first);
  assert.deepEqual(titles([away!, ...others]), ['warning trustee third']);
  assert.match(away?.detail ?? '', /2 of 3 are left, and 2 must sign/);
  second.kill();
  flock.run(30_000);
  const [lost] = findings(first);
  assert.deepEqual(titles(findings(first)), ['critical quorum']);
  assert.match(lost?.detail ?? '', /only 1 can be reached: second, third cannot/);
  const { notAfter } = first.core.identities(flock.now)[0]!;
  assert.ok(lost?.detail.includes(new Date(notAfter).toISOString()), 'and how long that hurts nobody');
});

test('without a quorum a certificate that could not be renewed is critical an hour before it ends', () => {
  const { flock, hosts } = ofThree();
  const identity = {
    service: 'web',
    spiffeId: '',
    notBefore: 0,
    problem: 'quorum-lost',
    notAfter: flock.now,
  };
  const at = (leftMs: number, quorum: boolean): string[] => {
    const identities = [{ ...identity, notAfter: flock.now + leftMs }];
    return titles(findings(hosts[0]!, { ca: { identities, quorum } }));
  };
  assert.deepEqual(at(59 * 60_000, false), ['critical identity web']);
  assert.deepEqual(at(61 * 60_000, false), ['warning identity web']);
  assert.deepEqual(at(59 * 60_000, true), ['warning identity web']);
  assert.deepEqual(at(9 * 60_000, true), ['critical identity web']);
});

test('the founder’s key is missed while its root signs, and not after', () => {
  const { first } = Flock.founded();
  const file = '/var/lib/starling/root-g0.seed';
  assert.deepEqual(titles(findings(first, { missingRootKey: file })), ['critical root key']);
  const { hosts } = ofThree();
  assert.deepEqual(findings(hosts[0]!, { missingRootKey: file }), []);
});

test('a share that is missing or cannot be read, and a trustee that told two stories, are said', () => {
  const { hosts } = ofThree();
  const [first] = hosts as [FlockHost];
  assert.deepEqual(titles(findings(first, { ca: { holdsShare: false } })), ['warning share']);
  assert.deepEqual(titles(findings(first, { damagedShares: 1 })), ['warning share']);
  const alarm = { id: 'x', name: 'second', detail: 'signed two heads', evidence: 'ab' };
  assert.deepEqual(titles(findings(first, { alarms: [alarm] })), ['critical trustee second']);
});

test('a root that waits for a host for long says for which, before it signs and before it ends', () => {
  const { flock, hosts } = ofThree();
  const [first, , third] = hosts as [FlockHost, FlockHost, FlockHost];
  third.appliesConfig = false;
  first.command({ type: 'rotate-root', operator });
  flock.run(30_000);
  assert.deepEqual(findings(first), [], 'not at once');
  flock.run(90_000);
  const [waiting] = findings(first);
  assert.deepEqual(titles(findings(first)), ['warning root g2']);
  assert.match(waiting?.detail ?? '', /host: third$/);
  const { roots } = first.core.credentials!.ca(flock.now);
  const later = roots.map((root) =>
    root.generation === 1
      ? { ...root, state: 'old' as const, active: false, waitingFor: ['second', 'third'] }
      : { ...root, state: 'active' as const, active: true, waitingFor: [], activeSince: flock.now - 660_000 },
  );
  const [ending] = findings(first, { ca: { roots: later } });
  assert.match(
    `${ending?.subject} ${ending?.detail}`,
    /^root g1 cannot be retired yet.*2 hosts: second, third$/,
  );
});

test('a trustee that was silent while shares were made is named, and whether it is given a seat', () => {
  const { flock, hosts } = ofThree();
  const [first] = hosts as [FlockHost];
  const missed = { id: 'x', name: 'second', until: null };
  const passedOver = { id: 'y', name: 'third', until: flock.now + 60_000 };
  const found = findings(first, { ca: { reproached: [missed, passedOver] } });
  assert.deepEqual(titles(found), ['warning trustee second', 'warning trustee third']);
  assert.match(found[0]!.detail, /^is here, and did not do its part/);
  assert.match(found[1]!.detail, /no seat until 20/);
  assert.match(found[1]!.hint, /starling ca deny third$/);
});

test('what makes the loss of a quorum easy to mend is advised, until it was done for the epoch in force', () => {
  const { flock, hosts } = ofThree();
  const [first] = hosts as [FlockHost];
  const [none, ...others] = advice(first, {});
  assert.equal(others.length, 0);
  assert.match(
    none ?? '',
    /^recovery: no share of root g1 .* disks of 2 of its 3 .* -> starling ca recovery-key create/,
  );
  const { epoch } = first.core.credentials!.ca(flock.now);
  const cold = { key: 'ab'.repeat(32), seats: 1 };
  const drilledIn = (number: number) => ({ cold: { ...cold, drill: { epoch: number, at: flock.now } } });
  assert.match(
    advice(first, { cold: { ...cold, drill: null } })[0] ?? '',
    /\(never\) -> starling ca recover --drill/,
  );
  assert.match(advice(first, drilledIn(epoch - 1))[0] ?? '', /last in epoch/);
  assert.deepEqual(advice(first, drilledIn(epoch)), []);
  assert.deepEqual(advice(first, { threshold: 1 }), [], 'one host has it whole');
});

test('who holds another root of the same generation is told which of the two stays, and what to do', () => {
  const { hosts } = ofThree();
  const [first] = hosts as [FlockHost];
  const of = (isOurs: boolean) =>
    findings(first, { ca: { split: { generation: 2, isOurs, holders: ['second'] } } });
  assert.deepEqual(titles(of(true)), ['critical root g2']);
  assert.match(of(true)[0]!.hint, /^on each host whose own check .* starling leave/);
  assert.match(of(false)[0]!.detail, /^second hold another one, which the operator made anew/);
  assert.match(of(false)[0]!.hint, /^on this host: starling leave, empty its data directory, and join again/);
});
