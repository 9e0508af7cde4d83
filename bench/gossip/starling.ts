/** Real agents, started by the command that users type, without a data plane: this is about gossip. */
import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { type Change, Cluster, type JoinTimes } from './cluster.ts';
import { LocalApi } from './local-api.ts';
import type { Network } from './network.ts';
import type { Fact } from './sightings.ts';
import { parseStarlingLine, starlingName } from './starling-log.ts';

const program = resolve(import.meta.dirname, '../../bin/starling');
const readyWithinMs = 120_000;
/** How often agents may give up joining before the benchmark does, for each agent. */
const mostRetries = 5;
const checkId = 'bench';
/** As much output as a health check has. */
const filling = 'x'.repeat(100);

export class StarlingCluster extends Cluster {
  readonly name = 'starling';
  readonly changes: readonly Change[] = [
    {
      kind: 'check',
      label: changeLabel,
      watch: (writer, round) => this.watch(writer, changeLabel(writer, round)),
      write: (writer, round) => this.report(writer, round),
    },
  ];
  private readonly directory: string;
  private readonly apis: LocalApi[];
  /** By host: the status that its check has now. */
  private readonly statuses = new Map<number, 'passing' | 'warning'>();

  constructor(network: Network, directory: string) {
    super(network);
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    this.apis = this.hosts.map((host) => new LocalApi(join(directory, `${starlingName(host)}.sock`)));
  }

  /**
   * An agent joins as soon as it runs, and on few cores the start of many would be all that is measured. So each
   * starts cut off and is stopped with its first packet, its request to be admitted; then all go on together.
   */
  async start(): Promise<JoinTimes> {
    await ready(this.agent(0, ['--bootstrap']));
    const join = ['--join', this.network.address(0), '--token', await this.joinToken()];
    const waiting = this.hosts.slice(1);
    const starting = Array.from({ length: availableParallelism() }, async () => {
      for (let host = waiting.shift(); host !== undefined; host = waiting.shift())
        await this.hold(host, join);
    });
    await Promise.all(starting);
    const joiners = this.hosts.slice(1);
    for (const host of joiners) this.network.mend(host);
    return this.timedJoin(async () => {
      const gaveUp: string[] = [];
      for (const host of joiners) this.program(host).child.kill('SIGCONT');
      await Promise.all(joiners.map((host) => this.joined(host, join, gaveUp)));
      return gaveUp;
    });
  }

  /** Starts an agent and stops it on the brink of joining. */
  private async hold(host: number, join: readonly string[]): Promise<void> {
    this.network.cut(host);
    const started = this.agent(host, join);
    while (this.network.sentBy(host).packets === 0) {
      if (!started.running) throw new Error(`the agent of host ${host} ended: ${started.stderr.slice(-500)}`);
      await this.pause(5);
    }
    started.child.kill('SIGSTOP');
  }

  /** Waits until an agent is ready; starts it again if it gave up, as a service manager would. */
  private async joined(host: number, join: readonly string[], gaveUp: string[]): Promise<void> {
    for (let agent = this.program(host); ; agent = this.agent(host, join)) {
      try {
        await ready(agent);
        return;
      } catch (error) {
        if (agent.running || gaveUp.length >= mostRetries * this.size) throw error;
        await this.pause(1000);
        gaveUp.push(agent.stderr.trim().split('\n').at(-1) ?? '');
      }
    }
  }

  async restart(host: number): Promise<void> {
    await ready(this.agent(host, []));
  }

  private agent(host: number, flags: readonly string[]): Program {
    return this.launch(host, program, [
      ...['agent', '--name', starlingName(host), '--data-dir', join(this.directory, starlingName(host))],
      ...['--bind', this.network.address(host), '--http', `unix:${this.apis[host]!.socketPath}`],
      ...['--dns', 'none', '--outbound', 'none', '--proxy', 'none', '--log-format', 'json', ...flags],
    ]);
  }

  /** One that admits all the others. */
  private async joinToken(): Promise<string> {
    const token = readFileSync(join(this.directory, starlingName(0), 'operator.token'), 'utf8').trim();
    const { body } = await this.apis[0]!.ask('/v1/mesh/tokens', {
      ...{ method: 'POST', token, body: { uses: this.size - 1 } },
    });
    return (JSON.parse(body) as { token: string }).token;
  }

  protected factIn(line: string): Fact | null {
    return parseStarlingLine(line);
  }

  /** An agent counts only those as members whose admission and signature it has verified. */
  protected async seesAll(host: number): Promise<boolean> {
    const { body } = await this.apis[host]!.ask('/v1/mesh/status');
    return (JSON.parse(body) as { members: { alive: number } }).members.alive === this.size;
  }

  /** The root is shared by as many trustees as so many hosts have, and the ones before it are gone. */
  protected async isSettled(host: number): Promise<boolean> {
    const { body } = await this.apis[host]!.ask('/v1/mesh/ca');
    const { rotation, trustees } = JSON.parse(body) as { rotation: string; trustees: unknown[] };
    const wanted = [7, 5, 3].find((count) => count <= this.size) ?? 1;
    return rotation === 'none' && trustees.length === wanted;
  }

  /** One blocking query on every agent, which its answer alone ends. */
  private async watch(writer: number, label: string): Promise<void> {
    if (!this.statuses.has(writer)) await this.addCheck(writer);
    const path = `/v1/health/node/${starlingName(writer)}`;
    await Promise.all(
      this.apis.map(async (api, host) => {
        const { index } = await api.ask(path);
        this.follow(api, host, path, index, label).catch(() => {
          // The agent has gone; who waits for it will say so.
        });
      }),
    );
  }

  private async follow(
    api: LocalApi,
    host: number,
    path: string,
    index: number,
    label: string,
  ): Promise<void> {
    for (let seen = index; ; ) {
      const answer = await api.askAfter(path, seen);
      seen = answer.index;
      if (!answer.body.includes(`"Output":"${label} `)) continue;
      this.sightings.note(host, { type: 'change', label }, answer.atMs);
      return;
    }
  }

  /** A check of the host itself, whose result the application reports. */
  private async addCheck(writer: number): Promise<void> {
    const body = { Name: checkId, CheckID: checkId, TTL: '24h', Status: 'passing' };
    await this.apis[writer]!.ask('/v1/agent/check/register', { method: 'PUT', body });
    this.statuses.set(writer, 'passing');
    await this.pause(500);
  }

  /** A transition, as a new output alone is told at a bounded rate. */
  private async report(writer: number, round: number): Promise<void> {
    const Status = this.statuses.get(writer) === 'passing' ? 'warning' : 'passing';
    this.statuses.set(writer, Status);
    const body = { Status, Output: `${changeLabel(writer, round)} ${filling}` };
    await this.apis[writer]!.ask(`/v1/agent/check/update/${checkId}`, { method: 'PUT', body });
  }
}

function changeLabel(writer: number, round: number): string {
  return `change-${writer}-${round}`;
}

async function ready(agent: Program): Promise<void> {
  await agent.line('starling: ready', readyWithinMs);
}
