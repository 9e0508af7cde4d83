/** `tap`: requests as they end on this host. */
import { type Command, InvalidArgumentError } from 'commander';
import { Fault } from '../../../core.ts';
import type { TapEvent } from '../../../proxy/observe/tap.ts';
import { serviceNamePattern } from '../../kinds.ts';
import { type CommonOptions, common, run } from './invocation.ts';
import { print, printable, type Tone, tinted } from './output.ts';
import { serverEvents } from './server-events.ts';
import { notEmpty } from './values.ts';

interface TapOptions extends CommonOptions {
  readonly path?: string;
  readonly status?: string;
  readonly limit?: number;
}

interface Pair {
  readonly source: string;
  readonly destination: string;
}

/** `web->api`; either side may be left out, or `*`, for any. */
function pairOf(text: string): Pair {
  const match = /^([^>]*)->(.*)$/.exec(text);
  const sides = match === null ? null : [match[1]!.trim(), match[2]!.trim()];
  if (sides === null || !sides.every((side) => side === '' || side === '*' || serviceNamePattern.test(side)))
    throw new InvalidArgumentError("It must be two services as in 'web->api', in quotes; * stands for any.");
  return { source: sides[0]!, destination: sides[1]! };
}

function limitOf(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return Number(text);
}

function toneOf({ status, flags }: TapEvent): Tone {
  if (status >= 500 || flags !== '-') return 'bad';
  return status >= 400 ? 'warn' : 'good';
}

function lineOf(event: TapEvent): string {
  const { source, destination, method, path, status, flags, upstream, rule, detail } = event;
  const what = method === '' ? 'TCP' : `${method} ${path}`;
  const why = rule === null ? detail : `rule ${rule}`;
  return [
    new Date(event.at).toISOString().slice(11, 23),
    printable(`${source === '' ? '-' : source} -> ${destination}`),
    printable(what),
    tinted(`${status} ${flags}`, toneOf(event)),
    `${event.durationMs.toFixed(1)}ms`,
    `${event.requestBytes}/${event.responseBytes}B`,
    event.reporter === 'source' ? 'out' : 'in',
    ...(upstream === '' ? [] : [printable(upstream)]),
    ...(why === '' ? [] : [printable(why)]),
  ].join('  ');
}

async function tap(pair: Pair | undefined, options: TapOptions): Promise<void> {
  await run(options, async (invocation) => {
    const query = new URLSearchParams();
    const { path, status, limit = Number.POSITIVE_INFINITY } = options;
    for (const [name, value] of Object.entries({ ...pair, path, status }))
      if (value !== undefined && value !== '') query.set(name, value);
    let left = limit;
    for await (const { type, data } of serverEvents(
      await invocation.client.follow(`/v1/mesh/tap?${query}`),
    )) {
      const event = JSON.parse(data) as TapEvent & { readonly count: number };
      if (type === 'request') {
        print(invocation.json ? data : lineOf(event));
        if (--left === 0) return 0;
      } else if (type === 'lost') process.stderr.write(`starling: ${event.count} requests were not shown\n`);
    }
    throw new Fault('agent-unreachable', 'the agent has ended the tap');
  });
}

export function addTapCommand(program: Command): void {
  common(program.command('tap').description('show requests as they end on this host; Ctrl-C ends it'))
    .argument('[pair]', "whose requests, such as 'web->api' (in quotes)", pairOf)
    .option('--path <prefix>', 'only paths that begin with this', notEmpty)
    .option('--status <status>', 'only this status, class (5xx) or response flag (UF)', notEmpty)
    .option('--limit <count>', 'end after so many', limitOf)
    .action(tap);
}
