/** `token`: who is let in. */
import { type Command, Option } from 'commander';
import { Fault } from '../../../core.ts';
import { grantRoles } from '../../../trust/admission/grant.ts';
import { encodeOperatorToken } from '../../../trust/admission/token.ts';
import type { CreatedToken, RevokedToken, TokenStatus } from '../../port.ts';
import { type CommonOptions, common, type Invocation, operatorCommand, run, segment } from './invocation.ts';
import { type Cell, print, printJson, table } from './output.ts';
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
        ['ID', 'STATE', 'USED', 'EXPIRES', 'ROLES', 'SERVICES', 'SIGNS AS'],
        tokens.map((token) => [
          token.id,
          lifeOf(token),
          token.operatorKey === null ? `${token.used}/${token.uses}` : '-',
          new Date(token.expiresAt).toISOString(),
          token.roles.join(','),
          token.services.length === 0 ? 'any' : token.services.join(','),
          token.operatorKey?.slice(0, 8) ?? '-',
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

export function addTrustCommands(program: Command): void {
  const token = program.command('token').description('tokens that admit hosts and operators');
  operatorCommand(token.command('create').description('make a token; shown once'))
    .option(
      '--service <name>',
      'service that the host may run (repeatable; default: any)',
      anotherService,
      [],
    )
    .addOption(
      new Option('--role <role>', 'what it admits to (repeatable; default: agent and trustee)')
        .choices(grantRoles)
        .argParser(anotherRole)
        .default([]),
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
}
