/** `ca deny`: hosts and certificates that are refused for good. */
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import type { CaLog } from '../../ca/ca-port.ts';
import { type DenialAnswer, type DenialStatus, serialPattern } from '../../ca/denial-port.ts';
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

/** A serial number as tools print it, with colons, capitals or `0x`; null for what no certificate of a mesh has. */
export function serialIn(text: string): string | null {
  const hex = text.toLowerCase().replace(/^0x/, '').replaceAll(':', '');
  return new RegExp(serialPattern).test(hex) ? hex : null;
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

/** Whose certificate it is. */
interface Holder {
  readonly subject: string;
  /** The host that asked for it. */
  readonly host: string;
}

/** Null where no issuance log tells that can be read from here: one may be out of reach, or have dropped it. */
async function holderOf({ client }: Invocation, serial: string): Promise<Holder | null> {
  try {
    const { entries } = await client.get<CaLog>('/v1/mesh/ca/log');
    const issued = entries.find((entry) => entry.serial === serial);
    return issued === undefined ? null : { subject: issued.subject, host: issued.requesterName };
  } catch (error) {
    // It is denied all the same.
    if (error instanceof Fault) return null;
    throw error;
  }
}

function told(answer: DenialAnswer, holder: Holder | null): string {
  if (!answer.changed) return `${named(answer)} was denied before, at ${new Date(answer.at).toISOString()}`;
  if (answer.host !== null)
    return `${named(answer)} is denied for good; to come back it needs a new key and a new token${shareHint(answer)}`;
  if (holder === null)
    return `${named(answer)} is denied, but no issuance log that can be read from here has it: is the number right?`;
  const whose = `${printable(holder.subject)}, which ${printable(holder.host)} asked for,`;
  return `${named(answer)} of ${whose} is denied; an agent that uses it gets another`;
}

async function deny(name: string, options: DenyOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const { reason: why, force = false } = options;
    const body = { ...(await subjectOf(invocation, name)), reason: why, force };
    const answer = await invocation.client.call<DenialAnswer>('POST', path, { body, operatorToken });
    const holder = answer.serial === null ? null : await holderOf(invocation, answer.serial);
    invocation.show(answer.serial === null ? answer : { ...answer, holder }, () => told(answer, holder));
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
