/** `stat`, `top` and `tap`: what goes through the proxy of this host. */
import type { Command } from 'commander';
import type { DenialLine, TrafficReport } from '../../traffic.ts';
import { type CommonOptions, common, run } from './invocation.ts';
import { printable, table } from './output.ts';
import { addTapCommand } from './tap-command.ts';
import { addTopCommand } from './top-command.ts';
import { noProxy, trafficTable } from './traffic-table.ts';

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
      return onlyDenied ? denialTable(report.denied) : trafficTable(report);
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
