/** `ca deny`: hosts and certificates that are refused for good. */
import type { Command } from 'commander';
import type { DenialAnswer, DenialStatus } from '../../ca/denial-port.ts';
import type { MemberStatus } from '../../catalog/member-status.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run } from './invocation.ts';
import { ago, printable, table } from './output.ts';
import { notEmpty, reason } from './values.ts';

interface DenyOptions extends CommonOptions {
  readonly reason: string;
  readonly force?: boolean;
}

const path = '/v1/mesh/ca/deny';
const hostIdPattern = /^[0-9a-f]{64}$/;

/** A serial number as tools print it, with colons, capitals or `0x`; null for what is none. */
export function serialIn(text: string): string | null {
  const hex = text.toLowerCase().replace(/^0x/, '').replaceAll(':', '');
  return /^(?:[0-9a-f]{2}){1,20}$/.test(hex) ? hex : null;
}

/** A host of the mesh goes first: one may be called what could be a serial number. */
async function subjectOf(
  { client }: Invocation,
  name: string,
): Promise<{ host: string } | { serial: string }> {
  const members = await client.get<MemberStatus[]>('/v1/mesh/members');
  const isMember = members.some((member) => member.name === name || member.id === name);
  if (isMember || hostIdPattern.test(name)) return { host: name };
  const serial = serialIn(name);
  return serial === null ? { host: name } : { serial };
}

function named({ name, host, serial }: DenialStatus): string {
  if (host === null) return `the certificate ${serial}`;
  return name === '' ? `host ${host}` : `host ${printable(name)} (${host.slice(0, 8)})`;
}

/** One share signs nothing; those of enough hosts, of one time, might. */
function shareHint({ trustee }: DenialAnswer): string {
  if (!trustee) return '';
  return '\nit held a share of the root: the others make theirs anew, and once one more share would do, another root';
}

function told(answer: DenialAnswer): string {
  if (!answer.changed) return `${named(answer)} was denied before, at ${new Date(answer.at).toISOString()}`;
  return answer.host === null
    ? `${named(answer)} is denied; the service that has it gets another`
    : `${named(answer)} is denied for good; to come back it needs a new key and a new token${shareHint(answer)}`;
}

async function deny(name: string, options: DenyOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const { reason: why, force = false } = options;
    const body = { ...(await subjectOf(invocation, name)), reason: why, force };
    const answer = await invocation.client.call<DenialAnswer>('POST', path, { body, operatorToken });
    invocation.show(answer, () => told(answer));
    return 0;
  });
}

async function list(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const denials = await invocation.client.get<DenialStatus[]>(path);
    invocation.show(denials, () =>
      table(
        ['DENIED', 'SINCE', 'ENDS', 'BY', 'REASON'],
        denials.map((denial) => [
          named(denial),
          `${ago(Date.now() - denial.at)} ago`,
          denial.until === null ? 'never' : new Date(denial.until).toISOString(),
          denial.by.slice(0, 8),
          denial.reason === '' ? '-' : printable(denial.reason),
        ]),
      ),
    );
    return 0;
  });
}

/** Under the command `ca`. */
export function addDenyCommands(ca: Command): void {
  const command = operatorCommand(
    ca.command('deny').argument('<host|serial>', 'a name, an id, or hex', notEmpty),
  )
    .description('refuse a host, or one certificate, for good, everywhere within seconds')
    .option('--reason <text>', 'why, for those who list it', reason, '')
    .option('--force', 'even if too few trustees are left to sign certificates')
    .action(deny);
  // The command above takes the options of this one before it can, wherever they stand.
  common(command.command('list').description('who and what is denied')).action((_own, given: Command) =>
    list(given.optsWithGlobals()),
  );
}
