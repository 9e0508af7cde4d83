/** `members`, `check`, `leave`: the mesh and this agent in it. */
import type { Command } from 'commander';
import type { MemberStatus } from '../../catalog/member-status.ts';
import type { Finding, ForcedLeave } from '../../port.ts';
import { type CommonOptions, common, operatorCommand, run, segment } from './invocation.ts';
import { ago, type Cell, print, printable, type Tone, table, tinted } from './output.ts';
import { notEmpty } from './values.ts';

const stateTones: { readonly [state: string]: Tone } = {
  alive: 'good',
  suspect: 'warn',
  down: 'bad',
  left: 'dim',
};
const gradeTones: { readonly [grade in Finding['grade']]: Tone } = {
  ok: 'good',
  warning: 'warn',
  critical: 'bad',
};

function memberRow(member: MemberStatus): (string | Cell)[] {
  const { name, id, address, port, state, since, roundTripMs, zone, incarnation } = member;
  return [
    printable(name),
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    { text: state, tone: stateTones[state] ?? 'plain' },
    since === 0 ? '-' : ago(Date.now() - since),
    roundTripMs === null ? '-' : `${roundTripMs.toFixed(1)}ms`,
    member.datacenter,
    zone === '' ? '-' : printable(zone),
    String(incarnation),
    printable(member.version),
    id.slice(0, 8),
  ];
}

const memberHeader = [
  'NAME',
  'ADDRESS',
  'STATE',
  'SINCE',
  'RTT',
  'DC',
  'ZONE',
  'INCARNATION',
  'VERSION',
  'ID',
];

async function members(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const found = await invocation.client.get<MemberStatus[]>('/v1/mesh/members');
    invocation.show(found, () => table(memberHeader, found.map(memberRow)));
    return 0;
  });
}

/** Exit 1 when something is critical. */
async function check(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const findings = await invocation.client.get<Finding[]>('/v1/mesh/check');
    invocation.show(findings, () => findings.map(findingText).join('\n'));
    return findings.some(({ grade }) => grade === 'critical') ? 1 : 0;
  });
}

function findingText({ grade, subject, detail, hint }: Finding): string {
  const line = `${tinted(grade.padEnd(8), gradeTones[grade])}  ${printable(subject)}: ${printable(detail)}`;
  return hint === '' ? line : `${line}\n          -> ${printable(hint)}`;
}

async function leave(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    await invocation.client.call('PUT', '/v1/agent/leave');
    if (invocation.json) print('{"left": true}');
    else print('the agent has left the mesh');
    return 0;
  });
}

async function forceLeave(name: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const path = `/v1/agent/force-leave/${segment(name)}`;
    const left = await invocation.client.call<ForcedLeave>('PUT', path, { operatorToken });
    invocation.show(left, () =>
      left.changed
        ? `${printable(left.name)} counts as left, unless it is alive and says so`
        : `${printable(left.name)} had left before`,
    );
    return 0;
  });
}

export function addMeshCommands(program: Command): void {
  common(program.command('members').description('list the hosts of the mesh')).action(members);
  common(program.command('check').description("the agent's diagnosis of itself")).action(check);
  operatorCommand(program.command('force-leave').argument('<host>', 'its name or id', notEmpty))
    .description('say for a host that cannot any more that it left; one that is alive refutes it')
    .action(forceLeave);
  common(program.command('leave').description('drain, tell the mesh, stop the agent')).action(leave);
}
