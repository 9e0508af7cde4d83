/** The peer to compare with: serf agents as Debian ships them, with the timing that serf has for one network. */
import type { Program } from '../../demo/flock.ts';
import { type Change, Cluster, type JoinTimes } from './cluster.ts';
import { parseSerfLine, serfName, tagLabel } from './serf-log.ts';
import { SerfRpc } from './serf-rpc.ts';
import type { Fact } from './sightings.ts';

const gossipPort = 7946;
const rpcPort = 7373;
const startWithinMs = 60_000;
/** What starting has set in motion has ended. */
const quietMs = 500;
/** As much as a health check's output has. */
const filling = 'x'.repeat(100);

function eventName(writer: number, round: number): string {
  return `event-${writer}-${round}`;
}

export class SerfCluster extends Cluster {
  readonly name = 'serf';
  readonly changes: readonly Change[];
  private readonly connections = new Map<number, SerfRpc>();

  constructor(...args: ConstructorParameters<typeof Cluster>) {
    super(...args);
    // The agents' own logs tell who has seen it: only the way to the writer is needed.
    const watch = async (writer: number): Promise<void> => {
      await this.rpc(writer);
    };
    this.changes = [
      { kind: 'event', watch, label: eventName, write: (...change) => this.sendEvent(...change) },
      { kind: 'tag', watch, label: tagLabel, write: (...change) => this.setTag(...change) },
    ];
  }

  async start(): Promise<JoinTimes> {
    await Promise.all(this.hosts.map((host) => running(this.agent(host))));
    const connections = await Promise.all(this.hosts.slice(1).map((host) => this.rpc(host)));
    await this.pause(quietMs);
    return this.timedJoin(async () => {
      const gaveUp: string[] = [];
      await Promise.all(connections.map((rpc) => this.join(rpc, gaveUp)));
      return gaveUp;
    });
  }

  /** Tries until it succeeds. */
  private async join(rpc: SerfRpc, gaveUp: string[]): Promise<void> {
    for (;;) {
      try {
        await rpc.call('join', { Existing: [`${this.network.address(0)}:${gossipPort}`], Replay: false });
        return;
      } catch (error) {
        if (gaveUp.length >= this.size) throw error;
        gaveUp.push((error as Error).message);
        await this.pause(1000);
      }
    }
  }

  async restart(host: number): Promise<void> {
    this.connections.get(host)?.close();
    this.connections.delete(host);
    const first = `${this.network.address(0)}:${gossipPort}`;
    await running(this.agent(host, `-retry-join=${first}`, '-retry-interval=1s'));
  }

  private agent(host: number, ...flags: string[]): Program {
    const address = this.network.address(host);
    return this.launch(host, 'serf', [
      ...['agent', `-node=${serfName(host)}`, '-profile=lan', '-log-level=info'],
      ...[`-bind=${address}:${gossipPort}`, `-rpc-addr=${address}:${rpcPort}`, ...flags],
    ]);
  }

  protected factIn(line: string): Fact | null {
    return parseSerfLine(line);
  }

  protected async seesAll(host: number): Promise<boolean> {
    return this.hasHeardOfAll(host);
  }

  /** Whoever has joined has nothing else to do. */
  protected async isSettled(): Promise<boolean> {
    return true;
  }

  private async rpc(host: number): Promise<SerfRpc> {
    let rpc = this.connections.get(host);
    if (rpc === undefined) {
      rpc = await SerfRpc.connect(this.network.address(host), rpcPort);
      this.connections.set(host, rpc);
    }
    return rpc;
  }

  private async sendEvent(writer: number, round: number): Promise<void> {
    const rpc = await this.rpc(writer);
    await rpc.call('event', {
      ...{ Name: eventName(writer, round), Payload: Buffer.from(filling), Coalesce: false },
    });
  }

  private async setTag(writer: number, round: number): Promise<void> {
    const rpc = await this.rpc(writer);
    await rpc.call('tags', { Tags: { round: `${round} ${filling}` }, DeleteTags: [] });
  }

  override async stop(): Promise<void> {
    for (const rpc of this.connections.values()) rpc.close();
    await super.stop();
  }
}

async function running(program: Program): Promise<void> {
  await program.line('==> Serf agent running!', startWithinMs);
}
