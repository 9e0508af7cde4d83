/** `services`, `register`, `deregister`, `maint`, `validate`: what runs on hosts. */
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import { toConsul } from '../../consul/definition.ts';
import { nearest } from '../../consul/fields.ts';
import { readDefinitions, readEither } from './files.ts';
import { type CommonOptions, common, type Invocation, run, segment } from './invocation.ts';
import { printable, table } from './output.ts';
import { notEmpty, reason, serviceId } from './values.ts';

/** Services asked about at once. */
const batchSize = 16;

interface ServiceRow {
  readonly name: string;
  readonly tags: readonly string[];
  readonly instances: number;
  readonly passing: number;
}

interface HealthRow {
  readonly Checks: readonly { readonly Status: string }[];
}

async function serviceRow(
  invocation: Invocation,
  name: string,
  tags: readonly string[],
): Promise<ServiceRow> {
  const rows = await invocation.client.get<HealthRow[]>(`/v1/health/service/${segment(name)}`);
  const passing = rows.filter((row) => row.Checks.every((check) => check.Status === 'passing')).length;
  return { name, tags, instances: rows.length, passing };
}

async function services(options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const names = Object.entries(
      await invocation.client.get<{ [name: string]: string[] }>('/v1/catalog/services'),
    );
    const rows: ServiceRow[] = [];
    for (let at = 0; at < names.length; at += batchSize)
      rows.push(
        ...(await Promise.all(
          names.slice(at, at + batchSize).map(([name, tags]) => serviceRow(invocation, name, tags)),
        )),
      );
    invocation.show(rows, () =>
      table(
        ['NAME', 'PASSING', 'INSTANCES', 'TAGS'],
        rows.map(({ name, tags, instances, passing }) => [
          name,
          { text: String(passing), tone: passing === instances ? 'good' : passing === 0 ? 'bad' : 'warn' },
          String(instances),
          printable(tags.join(',')),
        ]),
      ),
    );
    return 0;
  });
}

/** Everything in the file is checked before anything is registered. */
async function register(file: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const definitions = await readDefinitions(file);
    const scripted = definitions.find(({ checks }) => checks.some(({ type }) => type === 'script'));
    if (scripted !== undefined)
      throw new Fault(
        'script-refused',
        `${file}: "${scripted.id}" has a check that runs a program; put the file into the agent's --services folder`,
      );
    for (const definition of definitions)
      await invocation.client.call('PUT', '/v1/agent/service/register', { body: toConsul(definition) });
    const ids = definitions.map(({ id }) => id);
    invocation.show({ registered: ids }, () => `registered ${ids.join(', ')}`);
    return 0;
  });
}

async function deregister(id: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const path = `/v1/agent/service/deregister/${segment(id)}`;
    await invocation.client.call('PUT', path).catch(async (error: unknown) => {
      const near = nearest(id, Object.keys(await invocation.client.get<object>('/v1/agent/services')));
      if (!(error instanceof Fault) || near === null) throw error;
      throw new Fault(error.code, `${error.message} Did you mean ${near}?`);
    });
    invocation.show({ deregistered: id }, () => `deregistered ${id}`);
    return 0;
  });
}

interface MaintenanceOptions extends CommonOptions {
  readonly enable?: boolean;
  readonly disable?: boolean;
  readonly service?: string;
  readonly reason?: string;
}

async function maintenance(options: MaintenanceOptions, command: Command): Promise<void> {
  if ((options.enable === true) === (options.disable === true))
    command.error('say one of --enable and --disable');
  await run(options, async (invocation) => {
    const enable = options.enable === true;
    const query = new URLSearchParams({ enable: String(enable), reason: options.reason ?? '' });
    const subject =
      options.service === undefined ? 'maintenance' : `service/maintenance/${segment(options.service)}`;
    await invocation.client.call('PUT', `/v1/agent/${subject}?${query}`);
    const what = options.service ?? 'this host';
    invocation.show({ subject: options.service ?? null, maintenance: enable }, () =>
      enable ? `${what} is in maintenance` : `${what} is back in rotation`,
    );
    return 0;
  });
}

/** Needs no agent. */
async function validate(file: string, options: CommonOptions): Promise<void> {
  await run(options, async (invocation) => {
    const read = await readEither(file).catch((error: unknown) => {
      if (!invocation.json || !(error instanceof Fault)) throw error;
      invocation.show(
        { valid: false, code: error.code, message: error.message, field: error.field },
        () => '',
      );
      return null;
    });
    if (read === null) return 1;
    const { services: found, entries } = read;
    const what =
      entries.length > 0
        ? entries.map(({ kind, name }) => `${kind}/${name}`)
        : found.map(({ id }) => `service ${id}`);
    invocation.show({ valid: true, contains: what }, () => `${file} is valid: ${what.join(', ')}`);
    return 0;
  });
}

export function addServiceCommands(program: Command): void {
  common(program.command('services').description('list the services of the mesh')).action(services);
  common(program.command('register').argument('<file>', 'JSON or YAML, - for standard input', notEmpty))
    .description('register the services that a file defines, on this host')
    .action(register);
  common(program.command('deregister').argument('<id>', 'service id', serviceId))
    .description('take a service of this host back')
    .action(deregister);
  common(program.command('maint'))
    .description('take this host, or one service of it, out of rotation and back')
    .option('--enable', 'out of rotation')
    .option('--disable', 'back into rotation')
    .option('--service <id>', 'one service instead of all', serviceId)
    .option('--reason <text>', 'shown with the check', reason)
    .action(maintenance);
  common(program.command('validate').argument('<file>', 'service definitions or config entries', notEmpty))
    .description('check a file without changing anything')
    .action(validate);
}
