/**
 * `ca recovery-key` and `ca recover`: shares of the root that are put away, and what they are for. What they are
 * sealed for is made here and used here; no agent ever sees it.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { ed25519Signer, Fault } from '../../../core.ts';
import type { CaStatus } from '../../ca/ca-port.ts';
import type { RecoveryStatus } from '../../ca/recovery-port.ts';
import { parseDuration } from '../../consul/duration.ts';
import { type CommonOptions, type Invocation, operatorCommand, run } from './invocation.ts';
import { print, printable } from './output.ts';
import { coldSeats, notEmpty, waitTimeout } from './values.ts';

const path = '/v1/mesh/ca/recovery';

interface CreateOptions extends CommonOptions {
  readonly out: string;
  readonly seats?: number;
}

async function createKey(options: CreateOptions): Promise<void> {
  await run(options, async (invocation) => {
    const { readSecret, writeSecret } = await import('../../../trust/io/keys.ts');
    const { encodeRecoveryKey } = await import('../../../trust/admission/token.ts');
    const operatorToken = await invocation.operatorToken();
    if ((await readSecret(options.out)) !== null)
      throw new Fault('refused', `${options.out} is there already: choose another file`);
    const seed = randomBytes(32);
    const { publicKey: key } = ed25519Signer(seed);
    await writeSecret(options.out, Buffer.from(`${encodeRecoveryKey(seed)}\n`));
    const { seats } = options;
    const body = seats === undefined ? { key } : { key, seats };
    await invocation.client.call('POST', `${path}/key`, { body, operatorToken });
    invocation.show({ key, file: options.out }, () =>
      [
        `the recovery key ${key.slice(0, 8)} is in ${options.out}: keep it off every host of the mesh.`,
        'From the next epoch on, some shares of the root are sealed for it, fewer than sign; see starling ca status.',
        'With it and the trustees that are left, starling ca recover brings a root back that too few of them hold.',
      ].join('\n'),
    );
    return 0;
  });
}

async function removeKey(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    await invocation.client.call('POST', `${path}/key`, { body: { key: null }, operatorToken });
    invocation.show({ key: null }, () => 'from the next epoch on, no shares of the root are put away');
    return 0;
  });
}

interface RecoverOptions extends CommonOptions {
  readonly recoveryKeyFile?: string;
  readonly newRoot?: boolean;
  readonly drill?: boolean;
  readonly timeout: string;
}

async function recover(options: RecoverOptions, command: Command): Promise<void> {
  const { recoveryKeyFile } = options;
  if (recoveryKeyFile === undefined && options.newRoot !== true)
    command.error('give --recovery-key-file, or --new-root where the old is lost');
  await run(options, async (invocation) => {
    const status = await invocation.client.get<RecoveryStatus>(path);
    if (recoveryKeyFile === undefined) return newRoot(invocation, status, options);
    if (options.drill === true) return drill(invocation, status, recoveryKeyFile);
    if (status.plan === null) throw new Fault('refused', refusalText(status));
    const key = await coldKeyIn(recoveryKeyFile);
    const operatorToken = await invocation.operatorToken();
    const { decodeDescriptor, decodePlan } = await import('../../../trust/epoch/descriptor.ts');
    const { dealForRecovery } = await import('../../../trust/quorum/cold-dealer.ts');
    const order = dealForRecovery({
      trustDomain: status.trustDomain,
      epoch: decodeDescriptor(Buffer.from(status.descriptor, 'base64')),
      plan: decodePlan(Buffer.from(status.plan, 'base64')),
      key,
      entropy: (count) => randomBytes(count),
    });
    if (!invocation.json) print(planText(status));
    const base64 = (content: Uint8Array): string => Buffer.from(content).toString('base64');
    const body = {
      plan: status.plan,
      signature: base64(order.signature),
      dealing: base64(order.dealing),
      shares: Object.fromEntries([...order.shares].map(([host, share]) => [host, base64(share)])),
    };
    await invocation.client.call('POST', '/v1/mesh/ca/recover', { body, operatorToken });
    const ca = await untilRecovered(invocation, order.plan.epoch, parseDuration(options.timeout, 'timeout'));
    invocation.show({ epoch: ca.epoch, generation: ca.generation, trustees: ca.trustees }, () =>
      [
        `root g${ca.generation} is the same as before, and ${ca.threshold} of ${ca.trustees.length} trustees sign with it`,
        'if the hosts that are lost may be in the hands of others, deny them: the root is replaced then by itself',
      ].join('\n'),
    );
    return 0;
  });
}

/** A root that has nothing to do with the lost one, by the word of the operator and of more than half of all hosts. */
async function newRoot(
  invocation: Invocation,
  { newRoot: { plan, refusal, hosts, lost } }: RecoveryStatus,
  options: RecoverOptions,
): Promise<number> {
  if (plan === null) throw new Fault('refused', refusal?.message ?? 'no new root is possible');
  const { decodePlan } = await import('../../../trust/epoch/descriptor.ts');
  const { epoch } = decodePlan(Buffer.from(plan, 'base64'));
  const operatorToken = await invocation.operatorToken();
  if (!invocation.json)
    print(
      `${named(hosts)} make a new root; it counts once more than half of all hosts say so; lost: ${named(lost)}`,
    );
  const body = { plan, signature: '', dealing: '', shares: {} };
  await invocation.client.call('POST', '/v1/mesh/ca/recover', { body, operatorToken });
  const ca = await untilRecovered(invocation, epoch, parseDuration(options.timeout, 'timeout'));
  invocation.show({ epoch: ca.epoch, generation: ca.generation, trustees: ca.trustees }, () =>
    [
      `root g${ca.generation} is made: ${ca.threshold} of ${ca.trustees.length} trustees sign with it once every live host believes it`,
      'nothing of the lost root is in it: deny the hosts that are lost, if they may be in the hands of others',
    ].join('\n'),
  );
  return 0;
}

/** The recovery key, as it is used; it is read, and left where it is. */
async function coldKeyIn(file: string) {
  const { readSecret } = await import('../../../trust/io/keys.ts');
  const { parseRecoveryKey } = await import('../../../trust/admission/token.ts');
  const { recipientOf } = await import('../../../trust/frost/key-agreement.ts');
  const text = await readSecret(file);
  if (text === null) throw new Fault('recovery-key-missing', `there is no recovery key at ${file}`);
  const seed = parseRecoveryKey(text.toString('utf8'));
  return { signer: ed25519Signer(seed), agree: recipientOf(seed) };
}

/** Opens what is put away and holds each share against the root; puts nothing together. */
async function drill(invocation: Invocation, status: RecoveryStatus, file: string): Promise<number> {
  const key = await coldKeyIn(file);
  const { decodeDescriptor } = await import('../../../trust/epoch/descriptor.ts');
  const { openColdSeats } = await import('../../../trust/quorum/cold-dealer.ts');
  const shares = openColdSeats(decodeDescriptor(Buffer.from(status.descriptor, 'base64')), key);
  const operatorToken = await invocation.operatorToken();
  await invocation.client.call('POST', `${path}/drill`, { body: { epoch: status.epoch }, operatorToken });
  invocation.show({ epoch: status.epoch, seats: shares.length }, () =>
    shares.length === 1
      ? `the share of epoch ${status.epoch} that is put away can be opened, and fits the root`
      : `the ${shares.length} shares of epoch ${status.epoch} that are put away can be opened, and fit the root`,
  );
  return 0;
}

function named(names: readonly string[]): string {
  return names.map(printable).join(', ');
}

function planText({ hosts, lost }: RecoveryStatus): string {
  return `the root goes to ${named(hosts)}; lost: ${named(lost)}`;
}

/** What is not possible, why, and what is instead. */
function refusalText({ refusal }: RecoveryStatus): string {
  const { code, message } = refusal ?? { code: '', message: 'no recovery is possible' };
  if (code === 'quorum-here') return message;
  const instead =
    code === 'not-shared' || code === 'too-few-hosts'
      ? ''
      : '. Bring lost trustees back with their disks: each counts, and once enough are here all goes on by itself. If ' +
        'they are gone for good, --new-root makes another root';
  return `${message}${instead}`;
}

const lookEveryMs = 500;

async function untilRecovered({ client }: Invocation, epoch: number, timeoutMs: number): Promise<CaStatus> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const ca = await client.get<CaStatus>('/v1/mesh/ca');
    if (ca.epoch >= epoch) return ca;
    if (ca.lastFailure?.startsWith('recovery: ') === true)
      throw new Fault('refused', `${printable(ca.lastFailure)}; nothing has changed, try again`);
    if (performance.now() >= deadline)
      throw new Fault('refused', 'the trustees have not done it in time; nothing has changed, try again');
    await pause(lookEveryMs);
  }
}

/** Under the command `ca`. */
export function addRecoveryCommands(ca: Command): void {
  const key = ca.command('recovery-key').description('a key for which shares of the root are put away');
  operatorCommand(key.command('create').description('make one, and have shares sealed for it'))
    .requiredOption('--out <file>', 'where to write it; on no host of the mesh', notEmpty)
    .option('--seats <number>', 'at most so many shares (default: half of those who sign)', coldSeats)
    .action(createKey);
  operatorCommand(key.command('remove').description('have no more shares put away')).action(removeKey);
  operatorCommand(ca.command('recover').description('bring a root back that too few trustees hold'))
    .option('--recovery-key-file <file>', 'the recovery key', notEmpty)
    .addOption(
      new Option('--new-root', 'another root in the place of one that nothing brings back').conflicts([
        'recoveryKeyFile',
        'drill',
      ]),
    )
    .option('--drill', 'only look whether the shares that are put away can be opened and fit the root')
    .option('--timeout <duration>', 'how long to wait', waitTimeout, '90s')
    .action(recover);
}
