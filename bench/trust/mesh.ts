/** A mesh of real agents that become trustees quickly, and what each of them says of the root. */
import type { Bird, Flock } from '../../demo/flock.ts';
import type { CaStatus } from '../../src/agent/ca/ca-port.ts';
import type { Stage } from '../stage.ts';

/** How long a host must be here before it may hold a share: two seconds instead of thirty. */
export const agentFlags: readonly string[] = ['--trustee-settle', '2s'];
/** Last octet of the first host's address, 127.0.1.N. */
const firstHost = 51;
const mostHosts = 16;
/** How often hosts are asked for their state while something is waited for: rarely enough not to be in the way. */
const pollMs = 100;
/** Agents that start at once: more would only wait for one another on few cores. */
const startsAtOnce = 2;

/** So many sign together, by how many hold shares: what agents do unless told. */
export const thresholds: { readonly [trustees: number]: number } = { 1: 1, 3: 2, 5: 3, 7: 4 };

export class TrustMesh {
  readonly flock: Flock;
  private readonly stage: Stage;
  private token = '';

  private constructor(stage: Stage) {
    this.stage = stage;
    this.flock = stage.flock();
  }

  static async found(stage: Stage): Promise<TrustMesh> {
    const mesh = new TrustMesh(stage);
    await mesh.bird().start('--bootstrap');
    mesh.token = await mesh.flock.token('--uses', String(mostHosts));
    return mesh;
  }

  get birds(): readonly Bird[] {
    return this.flock.birds;
  }

  private bird(): Bird {
    const n = firstHost + this.birds.length;
    return this.flock.bird({ n, name: `h${n}`, extra: agentFlags });
  }

  /** Has `count` more hosts join; resolves when all are ready. */
  async grow(count: number): Promise<void> {
    const waiting = Array.from({ length: count }, () => this.bird());
    const start = async (): Promise<void> => {
      for (let bird = waiting.shift(); bird !== undefined; bird = waiting.shift())
        await bird.start('--join', this.birds[0]!.address, '--token', this.token);
    };
    await Promise.all(Array.from({ length: startsAtOnce }, start));
  }

  /** Each host gets a service of its own, so that it has a certificate of the root in force. */
  async serve(birds: readonly Bird[]): Promise<void> {
    for (const [i, bird] of birds.entries()) {
      const response = await bird.put('/v1/agent/service/register', {
        Name: `s-${bird.name}`,
        Port: 9000 + i,
      });
      if (!response.ok) throw new Error(`registering: ${response.status} ${await response.text()}`);
    }
    await this.until('every service has a certificate', 60_000, ({ identities }) =>
      identities.every(({ problem }) => problem === null),
    );
  }

  /** Has an operator ask for another root. */
  async rotate(): Promise<void> {
    await this.birds[0]!.json('ca', 'rotate', ...this.flock.operator());
  }

  /** So many hold shares of the key in force, all of them are here, and each knows its share. */
  untilSeated(trustees: number, withinMs = 120_000): Promise<number> {
    const threshold = thresholds[trustees];
    return this.until(
      `${threshold} of ${trustees}`,
      withinMs,
      (ca) =>
        ca.threshold === threshold &&
        ca.trustees.length === trustees &&
        ca.trustees.every(({ alive }) => alive) &&
        ca.holdsShare === ca.isTrustee,
    );
  }

  /** Every host has new certificates signed by this root. */
  untilActive(generation: number, withinMs = 120_000): Promise<number> {
    return this.until(`g${generation} signs`, withinMs, ({ roots }) =>
      roots.some((root) => root.generation === generation && root.active),
    );
  }

  /** No host believes this root any more. */
  untilRetired(generation: number, withinMs = 240_000): Promise<number> {
    return this.until(`g${generation} is retired`, withinMs, ({ roots }) =>
      roots.some((root) => root.generation === generation && root.state === 'retired'),
    );
  }

  /** Resolves, with the time it took in milliseconds, once `holds` is true of every host's state. */
  private async until(what: string, withinMs: number, holds: (ca: CaStatus) => boolean): Promise<number> {
    const begin = performance.now();
    for (;;) {
      const all = await Promise.all(this.birds.map((bird) => bird.get<CaStatus>('/v1/mesh/ca')));
      const tookMs = performance.now() - begin;
      if (all.every(holds)) return tookMs;
      if (tookMs > withinMs)
        throw new Error(
          `${what}: not on all hosts within ${withinMs} ms; ${JSON.stringify(all[0]).slice(0, 500)}`,
        );
      await this.stage.pause(pollMs);
    }
  }

  stop(): Promise<void> {
    return this.flock.stop();
  }
}
