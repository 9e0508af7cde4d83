/** `token` and `ca`: who is let in, and the certificates that prove it. */
import { type Command, InvalidArgumentError } from 'commander';
import { encodeOperatorToken } from '../../../trust/token.ts';
import type { CreatedToken, IdentityStatus } from '../../port.ts';
import { type CommonOptions, common, operatorCommand, run } from './invocation.ts';
import { ago, print, printable, printJson, table } from './output.ts';

interface TokenOptions extends CommonOptions {
  readonly service: readonly string[];
  readonly role: readonly string[];
  readonly ttl: string;
  readonly uses: number;
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) < 1)
    throw new InvalidArgumentError('It must be a whole number from 1.');
  return Number(text);
}

/** On stdout the token alone, so that it can be piped; what it is good for goes to stderr. */
async function createToken(options: TokenOptions): Promise<void> {
  await run(options, async (invocation) => {
    const created = await invocation.client.call<CreatedToken>('POST', '/v1/mesh/tokens', {
      body: { services: options.service, roles: options.role, ttl: options.ttl, uses: options.uses },
      operatorToken: await invocation.operatorToken(),
    });
    const { operatorSeed, ...shown } = created;
    const operatorToken =
      operatorSeed === null ? null : encodeOperatorToken(Buffer.from(operatorSeed, 'hex'));
    if (invocation.json) printJson(operatorToken === null ? shown : { ...shown, operatorToken });
    else {
      const until = new Date(created.expiresAt).toISOString();
      const purpose = operatorToken === null ? `admits ${created.uses} host(s)` : 'an operator token';
      process.stderr.write(`${purpose}, valid until ${until}; it is shown once\n`);
      print(operatorToken ?? created.token);
    }
    return 0;
  });
}

interface CaStatus {
  readonly trustDomain: string;
  readonly roots: readonly {
    readonly generation: number;
    readonly active: boolean;
    readonly notAfter: number;
  }[];
  readonly identities: readonly IdentityStatus[];
}

async function caStatus(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const status = await invocation.client.get<CaStatus>('/v1/mesh/ca');
    const left = (until: number): string => (until > Date.now() ? `in ${ago(until - Date.now())}` : 'past');
    invocation.show(status, () => {
      const roots = status.roots.map(({ generation, active, notAfter }) => [
        `g${generation}`,
        active ? 'active' : 'trusted',
        left(notAfter),
      ]);
      const identities = status.identities.map(({ service, problem, notAfter }) => [
        service,
        problem === null ? left(notAfter) : '-',
        { text: printable(problem ?? 'ok'), tone: problem === null ? ('good' as const) : ('bad' as const) },
      ]);
      return [
        `trust domain ${status.trustDomain}`,
        table(['ROOT', 'STATE', 'EXPIRES'], roots),
        table(['IDENTITY', 'EXPIRES', 'STATE'], identities),
      ].join('\n\n');
    });
    return 0;
  });
}

async function caRoots(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const bundle = await invocation.client.get<{ Roots: { RootCert: string }[] }>('/v1/connect/ca/roots');
    invocation.show(bundle, () =>
      bundle.Roots.map(({ RootCert }) => RootCert)
        .join('')
        .trimEnd(),
    );
    return 0;
  });
}

export function addTrustCommands(program: Command): void {
  const token = program.command('token').description('tokens that admit hosts and operators');
  operatorCommand(token.command('create').description('make a token; shown once'))
    .option('--service <name>', 'service that the host may run (repeatable; default: any)', collect, [])
    .option('--role <role>', 'role of the holder, such as operator (repeatable)', collect, [])
    .option('--ttl <duration>', 'how long it can be used', '1h')
    .option('--uses <count>', 'how many hosts it admits', wholeNumber, 1)
    .action(createToken);
  const ca = program.command('ca').description('the certificate authority of the mesh');
  common(ca.command('status').description('roots, and the identities of this host')).action(caStatus);
  common(ca.command('roots').description('the trust bundle, PEM')).action(caRoots);
}
