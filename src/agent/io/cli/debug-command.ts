/** `debug`: everything that helps somebody else to see what is wrong here, in one folder, without any secret. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Fault, messageOf } from '../../../core.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import { type CommonOptions, common, type Invocation, run, segment } from './invocation.ts';
import { printable } from './output.ts';
import { notEmpty } from './values.ts';

interface DebugOptions extends CommonOptions {
  readonly output?: string;
}

/** File name -> what it holds. All of them are reads that anybody on this host may do. */
const sources: { readonly [file: string]: string } = {
  'status.json': '/v1/mesh/status',
  'members.json': '/v1/mesh/members',
  'check.json': '/v1/mesh/check',
  'stat.json': '/v1/mesh/stat',
  'ca.json': '/v1/mesh/ca',
  'self.json': '/v1/agent/self',
  'services.json': '/v1/agent/services',
  'checks.json': '/v1/agent/checks',
  'catalog.json': '/v1/health/state/any',
  'nodes.json': '/v1/catalog/nodes',
  'host.json': '/v1/agent/host',
  'metrics.txt': '/metrics',
  ...Object.fromEntries(supportedKinds.map((kind) => [`${kind}.json`, `/v1/config/${segment(kind)}`])),
};

/** One source that does not answer is a finding, not the end. */
async function collect(invocation: Invocation, folder: string): Promise<{ [file: string]: string }> {
  const problems: { [file: string]: string } = {};
  for (const [file, path] of Object.entries(sources)) {
    const { status, text } = await invocation.client.send('GET', path);
    if (status !== 200) problems[file] = `${status} ${text.trim()}`;
    await writeFile(join(folder, file), text.endsWith('\n') ? text : `${text}\n`, { mode: 0o600 });
  }
  return problems;
}

async function debug(options: DebugOptions): Promise<void> {
  await run(options, async (invocation) => {
    const folder = options.output ?? `starling-debug-${new Date().toISOString().replaceAll(':', '')}`;
    await invocation.client.get('/v1/mesh/status');
    let problems: { [file: string]: string };
    try {
      await mkdir(folder, { mode: 0o700 });
      problems = await collect(invocation, folder);
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault('unwritable-file', `${folder}: ${messageOf(error)}`);
    }
    invocation.show({ folder, files: Object.keys(sources), problems }, () =>
      [
        `wrote ${Object.keys(sources).length} files to ${printable(folder)}; they hold names and addresses, no keys`,
        ...Object.entries(problems).map(([file, problem]) => `${file}: ${printable(problem)}`),
      ].join('\n'),
    );
    return 0;
  });
}

export function addDebugCommand(program: Command): void {
  common(
    program
      .command('debug')
      .description('write what helps to find out what is wrong to a new folder')
      .option('--output <folder>', 'the folder, which must not exist yet', notEmpty),
  ).action(debug);
}
