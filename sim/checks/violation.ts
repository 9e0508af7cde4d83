/** A broken promise of the system under test: what, when and who, so that a replay knows where to look. */
import type { World } from '../world.ts';

export class Violation extends Error {
  /** Kebab-case name of the checker that found it. */
  readonly checker: string;
  /** Virtual milliseconds since the run began. */
  readonly atMs: number;

  constructor(checker: string, world: Pick<World, 'elapsedMs'>, detail: string, cause?: unknown) {
    super(`${checker} at ${(world.elapsedMs / 1000).toFixed(3)} s: ${detail}`, { cause });
    this.name = 'Violation';
    this.checker = checker;
    this.atMs = world.elapsedMs;
  }
}
