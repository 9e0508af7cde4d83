/** `ca`: the root that the mesh's certificates come from, who holds it, and what was signed with it. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import type { CaLog, CaRoot, CaStatus, RootRotation } from '../../ca/ca-port.ts';
import { parseDuration } from '../../consul/duration.ts';
import { addDenyCommands } from './deny-commands.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { ago, type Cell, print, printable, printJson, type Tone, table, tinted } from './output.ts';
import { addRecoveryCommands } from './recovery-commands.ts';
import { notEmpty, waitTimeout } from './values.ts';

const stateTones: { readonly [state in CaRoot['state']]: Tone } = {
  next: 'warn',
  active: 'good',
  old: 'plain',
  retired: 'dim',
};

function until(time: number): string {
  if (time === 0) return '-';
  return time > Date.now() ? `in ${ago(time - Date.now())}` : 'past';
}

/** Names from elsewhere, at most so many of them. */
function named(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).map(printable).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

function quorumText({ epoch, generation, threshold, trustees, alive, quorum }: CaStatus): string {
  const verdict = quorum ? tinted('can sign', 'good') : tinted('cannot sign', 'bad');
  return `epoch ${epoch}: root g${generation} is held ${threshold} of ${trustees.length}; ${alive} here, ${verdict}`;
}

function ownPartText({ isTrustee, holdsShare }: CaStatus): string {
  if (!isTrustee) return 'this host is no trustee';
  return holdsShare
    ? 'this host is a trustee and holds its share'
    : tinted('this host is a trustee and lacks its share', 'warn');
}

function coldText({ cold, epoch }: CaStatus): string[] {
  if (cold === null) return [];
  const { key, seats, drill } = cold;
  const shares = `${seats} ${seats === 1 ? 'share is' : 'shares are'} put away for the recovery key ${key.slice(0, 8)}`;
  const looked =
    drill === null || drill.epoch < epoch
      ? tinted(
          'not looked after since the shares were made: starling ca recover --drill --recovery-key-file FILE',
          'warn',
        )
      : `looked after ${ago(Date.now() - drill.at)} ago`;
  return [`${shares}; ${looked}`];
}

function reproachText({ reproached }: CaStatus): string[] {
  return reproached.map(({ name, until: passedOver }) => {
    const which =
      passedOver === null
        ? 'missed once while shares were made'
        : 'cheated, or silent while shares were made';
    const seat = passedOver === null ? '' : `; no seat for ${ago(Math.max(0, passedOver - Date.now()))}`;
    return tinted(`${printable(name)}: ${which}${seat}`, 'warn');
  });
}

function splitText({ split }: CaStatus): string[] {
  if (split === null) return [];
  return [
    tinted(
      `${named(split.holders)} hold another root g${split.generation}: starling check says what to do`,
      'bad',
    ),
  ];
}

function rotationText({ rotation, generation }: CaStatus): string[] {
  const texts = {
    none: [],
    asked: [`rotation: the trustees are to make root g${generation + 1}`],
    introducing: [`rotation: root g${generation} signs once every live host believes it`],
    retiring: ['rotation: an older root is believed until nobody uses what it signed'],
  };
  return texts[rotation];
}

function statusText(status: CaStatus): string {
  const roots = status.roots.map(({ generation, state, notAfter, waitingFor }) => [
    `g${generation}`,
    { text: state, tone: stateTones[state] },
    until(notAfter),
    waitingFor.length === 0 ? '-' : named(waitingFor),
  ]);
  const trustees = status.trustees.map(({ name, alive, self }): (string | Cell)[] => [
    printable(name) + (self ? ' (this host)' : ''),
    alive ? { text: 'alive', tone: 'good' } : { text: 'away', tone: 'bad' },
  ]);
  const identities = status.identities.map(({ service, problem, notAfter }): (string | Cell)[] => [
    service,
    until(notAfter),
    { text: printable(problem ?? 'ok'), tone: problem === null ? 'good' : 'bad' },
  ]);
  const { waiting, lastFailure } = status;
  const facts = [
    `trust domain ${status.trustDomain}`,
    quorumText(status),
    ownPartText(status),
    ...coldText(status),
    ...splitText(status),
    ...reproachText(status),
    ...rotationText(status),
    ...(waiting === null ? [] : [`waits: ${printable(waiting)}`]),
    ...(lastFailure === null ? [] : [`last failure: ${printable(lastFailure)}`]),
  ];
  return [
    facts.join('\n'),
    table(['ROOT', 'STATE', 'EXPIRES', 'WAITS FOR'], roots),
    table(['TRUSTEE', 'STATE'], trustees),
    table(['IDENTITY', 'EXPIRES', 'STATE'], identities),
  ].join('\n\n');
}

async function showStatus(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const status = await invocation.client.get<CaStatus>('/v1/mesh/ca');
    invocation.show(status, () => statusText(status));
    return 0;
  });
}

async function showRoots(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const bundle = await invocation.client.get<{ Roots: { RootCert: string }[] }>('/v1/connect/ca/roots');
    const pems = bundle.Roots.map(({ RootCert }) => `${RootCert.trimEnd()}\n`);
    invocation.show(bundle, () => pems.join('').trimEnd());
    return 0;
  });
}

interface RotateOptions extends CommonOptions {
  readonly wait?: boolean;
  readonly timeout: string;
}

/** How often the agent is asked how far it is. */
const lookEveryMs = 500;

async function rotate(options: RotateOptions): Promise<void> {
  await run(options, async (invocation) => {
    const rotation = await invocation.client.call<RootRotation>('POST', '/v1/mesh/ca/rotate', {
      operatorToken: await invocation.operatorToken(),
    });
    if (options.wait !== true) {
      invocation.show(rotation, () => rotationPlan(rotation));
      return 0;
    }
    if (!invocation.json) print(rotationPlan(rotation));
    const root = await untilActive(invocation, rotation, parseDuration(options.timeout, 'timeout'));
    invocation.show({ ...rotation, activeSince: root.activeSince }, () => `root g${rotation.next} is active`);
    return 0;
  });
}

function rotationPlan({ generation, next, threshold, trustees, absent }: RootRotation): string {
  const lines = [
    `the trustees ${named(trustees, 13)} make root g${next}, held ${threshold} of ${trustees.length} like g${generation};`,
    `it signs once every live host believes it, and g${generation} is retired once nobody uses what it signed`,
  ];
  if (absent.length > 0) lines.push(`not here now: ${named(absent)}`);
  return lines.join('\n');
}

/** The root once it signs; `Fault('refused')` says what is waited for when the time is up. */
async function untilActive(
  { client }: Invocation,
  { next }: RootRotation,
  timeoutMs: number,
): Promise<CaRoot> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const status = await client.get<CaStatus>('/v1/mesh/ca');
    const root = status.roots.findLast(({ generation, active }) => generation >= next && active);
    if (root !== undefined) return root;
    if (performance.now() >= deadline) throw new Fault('refused', `${obstacle(status, next)}; it goes on`);
    await pause(lookEveryMs);
  }
}

function obstacle({ roots, trustees, quorum, waiting, lastFailure }: CaStatus, next: number): string {
  const root = roots.find(({ generation }) => generation === next);
  if (root !== undefined && root.waitingFor.length > 0)
    return `root g${next} is not active yet: it waits for ${named(root.waitingFor)}`;
  const away = trustees.filter(({ alive }) => !alive).map(({ name }) => name);
  const made = root === undefined ? 'made' : 'active';
  if (!quorum) return `root g${next} is not ${made} yet: too few trustees are here, ${named(away)} are away`;
  const why = waiting ?? lastFailure;
  return `root g${next} is not ${made} yet${why === null ? '' : `: ${printable(why)}`}`;
}

interface LogOptions extends CommonOptions {
  readonly host?: string;
  readonly verify?: boolean;
}

/** Nobody reads these logs any more. What their trustees signed with others is in the logs of the others. */
const gone: ReadonlySet<string> = new Set(['left', 'denied']);

/**
 * With `--verify` exit 1 unless every log of a trustee that is not gone was read to its end and none contradicts what
 * was seen of it before.
 */
async function showLog(options: LogOptions): Promise<void> {
  await run(options, async (invocation) => {
    const query = options.host === undefined ? '' : `?host=${segment(options.host)}`;
    const log = await invocation.client.get<CaLog>(`/v1/mesh/ca/log${query}`);
    const unread = log.sources.filter(({ problem }) => problem !== null && !gone.has(problem));
    if (invocation.json) printJson(log);
    else {
      print(logText(log));
      if (options.verify === true) print(`\n${verificationText(log)}`);
      else if (unread.length > 0)
        process.stderr.write(`not read to the end: ${named(unread.map(({ name }) => name))}; see --verify\n`);
    }
    const isProven = log.alarms.some(({ evidence }) => evidence !== '');
    return options.verify === true && (unread.length > 0 || isProven) ? 1 : 0;
  });
}

async function resetLog(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    await invocation.client.call('POST', '/v1/mesh/ca/log/reset', { operatorToken });
    invocation.show(null, () =>
      [
        'this host signs again, and a new issuance log says since when',
        'what it signed before is in the logs of other trustees, if any signed with it, and nowhere else',
      ].join('\n'),
    );
    return 0;
  });
}

function logText({ entries }: CaLog): string {
  return table(
    ['SIGNED', 'SUBJECT', 'EXPIRES', 'ASKED BY', 'WITNESSES'],
    entries.map(({ at, subject, notAfter, requesterName, witnesses }) => [
      new Date(at).toISOString(),
      printable(subject),
      notAfter === 0 ? '-' : new Date(notAfter).toISOString(),
      printable(requesterName),
      witnesses.map(printable).join(','),
    ]),
  );
}

const problemTexts: { readonly [problem: string]: string } = {
  'no-answer': 'did not answer in time',
  unreachable: 'cannot be reached',
  busy: 'was asked too often',
  'not-asked': 'was not asked: too many logs for one reading',
  'head-forged': 'shows a head that it did not sign',
  'log-broken': 'shows entries that do not lead to its head',
  malformed: 'shows entries that cannot be read',
  'shorter-than-told': 'is shorter than a head that was told before says',
  left: 'went with its host, which left',
  denied: 'went with its host, which was denied',
};

function verificationText({ sources, alarms }: CaLog): string {
  const rows = sources.map(({ name, sequence, from, entries, problem }): (string | Cell)[] => [
    printable(name),
    sequence === null ? '-' : String(sequence),
    from === null ? '-' : String(from),
    String(entries),
    problem === null
      ? { text: 'leads to its signed head', tone: 'good' }
      : { text: problemTexts[problem] ?? printable(problem), tone: gone.has(problem) ? 'dim' : 'bad' },
  ]);
  const told = alarms.map(({ name, detail }) => tinted(`${printable(name)} ${printable(detail)}`, 'bad'));
  return [table(['TRUSTEE', 'HEAD', 'FROM', 'READ', 'LOG'], rows), ...told].join('\n');
}

export function addCaCommands(program: Command): void {
  const ca = program.command('ca').description('the certificate authority of the mesh');
  common(
    ca.command('status').description('roots, who holds them, what they wait for; identities of this host'),
  ).action(showStatus);
  common(ca.command('roots').description('every root that is believed, PEM')).action(showRoots);
  common(ca.command('log').description('everything that was signed, by the logs of all trustees'))
    .option('--host <host>', 'only what this host asked for, by name or id', notEmpty)
    .option(
      '--verify',
      'say whose log leads to its signed head; exit 1 unless all do whose trustee is in the mesh',
    )
    .action(showLog);
  operatorCommand(
    ca.command('reset-log').description('begin another log where this host cannot read its own'),
  ).action(resetLog);
  operatorCommand(ca.command('rotate').description('have the trustees replace the root, without an outage'))
    .option('--wait', 'until the new root is active')
    .option('--timeout <duration>', 'how long to wait', waitTimeout, '2m')
    .action(rotate);
  addDenyCommands(ca);
  addRecoveryCommands(ca);
}
