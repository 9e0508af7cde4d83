/** `token` and `ca`: who is let in, and the certificates that prove it. */
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import { encodeOperatorToken } from '../../../trust/token.ts';
import type { CreatedToken, IdentityStatus, RevokedToken, TokenStatus } from '../../port.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { ago, type Cell, print, printable, printJson, table } from './output.ts';
import { anotherRole, anotherService, tokenIdPrefix, tokenTtl, tokenUses } from './values.ts';

interface TokenOptions extends CommonOptions {
  readonly service: readonly string[];
  readonly role: readonly string[];
  readonly ttl: string;
  readonly uses: number;
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
      const purpose = operatorToken === null ? `admits ${created.uses} host(s)` : 'makes an operator';
      process.stderr.write(`token ${created.id} ${purpose}, valid until ${until}; it is shown once\n`);
      print(operatorToken ?? created.token);
    }
    return 0;
  });
}

function lifeOf({ roles, uses, used, expiresAt, revokedAt }: TokenStatus): Cell {
  if (revokedAt !== null) return { text: 'revoked', tone: 'bad' };
  if (expiresAt < Date.now()) return { text: 'expired', tone: 'dim' };
  const admitsMore = roles.includes('operator') || used < uses;
  return admitsMore ? { text: 'valid', tone: 'good' } : { text: 'used up', tone: 'dim' };
}

async function listTokens(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const tokens = await invocation.client.get<TokenStatus[]>('/v1/mesh/tokens');
    invocation.show(tokens, () =>
      table(
        ['ID', 'STATE', 'USED', 'EXPIRES', 'ROLES', 'SERVICES'],
        tokens.map((token) => [
          token.id,
          lifeOf(token),
          `${token.used}/${token.uses}`,
          new Date(token.expiresAt).toISOString(),
          token.roles.join(','),
          token.services.length === 0 ? 'any' : token.services.join(','),
        ]),
      ),
    );
    return 0;
  });
}

/** The one token whose id begins so. `Fault('refused')` when there is none, or more than one. */
async function tokenIdOf({ client }: Invocation, prefix: string): Promise<string> {
  const tokens = await client.get<TokenStatus[]>('/v1/mesh/tokens');
  const found = tokens.filter(({ id }) => id.startsWith(prefix));
  if (found.length === 1) return found[0]!.id;
  throw new Fault(
    'refused',
    found.length === 0
      ? `no token's id begins with ${prefix}: see \`starling token list\``
      : `the ids of ${found.length} tokens begin with ${prefix}: give more of it`,
  );
}

/** Exit 0 for a token that was revoked before, too: it is as it was asked to be. */
async function revokeToken(prefix: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const operatorToken = await invocation.operatorToken();
    const id = await tokenIdOf(invocation, prefix);
    const revoked = await invocation.client.call<RevokedToken>('DELETE', `/v1/mesh/tokens/${segment(id)}`, {
      operatorToken,
    });
    invocation.show(revoked, () =>
      revoked.changed
        ? `revoked ${id}`
        : `${id} was revoked already, at ${new Date(revoked.revokedAt ?? 0).toISOString()}`,
    );
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
        notAfter === 0 ? '-' : left(notAfter),
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
    .option(
      '--service <name>',
      'service that the host may run (repeatable; default: any)',
      anotherService,
      [],
    )
    .option(
      '--role <role>',
      'agent, operator or trustee (repeatable; default: agent and trustee)',
      anotherRole,
      [],
    )
    .option('--ttl <duration>', 'how long it can be used', tokenTtl, '1h')
    .option('--uses <count>', 'how many hosts it admits', tokenUses, 1)
    .action(createToken);
  common(token.command('list').description('every token, the newest first; never its secret')).action(
    listTokens,
  );
  operatorCommand(token.command('revoke').argument('<id>', 'its id or the beginning of it', tokenIdPrefix))
    .description('nobody joins or signs by it any more; hosts that joined stay')
    .action(revokeToken);
  const ca = program.command('ca').description('the certificate authority of the mesh');
  common(ca.command('status').description('roots, and the identities of this host')).action(caStatus);
  common(ca.command('roots').description('the trust bundle, PEM')).action(caRoots);
}
