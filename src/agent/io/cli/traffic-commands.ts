/** `stat`, `top` and `tap`: what goes through the proxy of this host. */
import type { Command } from 'commander';
import type { DenialLine, TrafficReport } from '../../traffic.ts';
import { type CommonOptions, common, run } from './invocation.ts';
import { printable, table, tinted } from './output.ts';
import { addTapCommand } from './tap-command.ts';
import { addTopCommand } from './top-command.ts';
import { noProxy, trafficTable, troubleLines } from './traffic-table.ts';

const trafficNote =
  'REQUESTS, RETRIES and DENIED since the agent started, the rest of the last minute of traffic';
/** The caller's proxy sees an answer, as from any server. */
const denialNote = 'what a service denies is counted on the hosts where it runs';

interface StatOptions extends CommonOptions {
  readonly denied?: boolean;
}

function denialTable(denied: readonly DenialLine[]): string {
  const rows = denied.map(({ source, destination, rule, count, reporter }) => [
    printable(source === '' ? '-' : source),
    printable(destination),
    printable(rule),
    reporter,
    String(count),
  ]);
  return table(['SOURCE', 'DESTINATION', 'RULE', 'SEEN BY', 'COUNT'], rows);
}

async function stat(options: StatOptions): Promise<void> {
  await run(options, async (invocation) => {
    const report = await invocation.client.get<TrafficReport | null>('/v1/mesh/stat');
    const onlyDenied = options.denied === true;
    invocation.show(onlyDenied ? (report?.denied ?? null) : report, () => {
      if (report === null) return noProxy;
      if (onlyDenied) return `${denialTable(report.denied)}\n\n${tinted(denialNote, 'dim')}`;
      const troubles = troubleLines(report).map((line) => tinted(line, 'warn'));
      return [trafficTable(report), ...troubles, '', tinted(trafficNote, 'dim')].join('\n');
    });
    return 0;
  });
}

export function addTrafficCommands(program: Command): void {
  common(program.command('stat').description("traffic through this host's proxy"))
    .option('--denied', 'list what was denied: who, whom, and by which rule')
    .action(stat);
  addTopCommand(program);
  addTapCommand(program);
}
