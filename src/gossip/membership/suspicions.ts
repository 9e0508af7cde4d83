/** The suspicions under way, each with the one moment at which it next needs attention. */
import type { HostId, Millis } from '../../core.ts';
import { Deadlines } from '../deadlines.ts';
import type { SwimParameters } from '../parameters.ts';
import type { Charge } from './claims.ts';
import { Suspicion } from './suspicion.ts';

/** Sizes of the mesh that a suspicion's length depends on. */
interface MeshSize {
  /** Members other than this agent, and those of them that are thought reachable. */
  readonly count: number;
  readonly reachableCount: number;
}

export class Suspicions {
  private readonly parameters: SwimParameters;
  private readonly scaled: (milliseconds: Millis) => Millis;
  private readonly running = new Map<number, Suspicion>();
  private readonly moments = new Deadlines<number>();

  /** `scaled` stretches a timeout by local health. */
  constructor(parameters: SwimParameters, scaled: (milliseconds: Millis) => Millis) {
    this.parameters = parameters;
    this.scaled = scaled;
  }

  nextWake(): Millis | null {
    return this.moments.next();
  }

  get(index: number): Suspicion | undefined {
    return this.running.get(index);
  }

  begin(index: number, incarnation: number, accuser: HostId, mesh: MeshSize, now: Millis): Suspicion {
    const { suspicionMinMs, suspicionMaxFactor, confirmations } = this.parameters;
    const minMs = suspicionMinMs * Math.max(1, Math.log10(mesh.count + 1));
    // Nobody can confirm but the reachable others, without the suspect and the first accuser.
    const others = Math.max(0, mesh.reachableCount - 2);
    const bounds = {
      minMs,
      maxMs: minMs * suspicionMaxFactor,
      confirmations: Math.min(confirmations, others),
    };
    const suspicion = new Suspicion(incarnation, accuser, bounds, now);
    this.running.set(index, suspicion);
    return suspicion;
  }

  /** Sets the next moment: first the own check, early enough to end with the suspicion, then the verdict. */
  schedule(index: number, now: Millis): void {
    const suspicion = this.running.get(index);
    if (suspicion === undefined || suspicion.check === 'running') return;
    const { checkAttempts, probeTimeoutMs } = this.parameters;
    const leadMs = suspicion.check === 'pending' ? this.scaled(checkAttempts * probeTimeoutMs) : 0;
    this.moments.set(index, Math.max(now, suspicion.deadline() - leadMs));
  }

  /** A check could not begin for want of room: try again soon. */
  defer(index: number, now: Millis): void {
    this.moments.set(index, now + this.parameters.probeTimeoutMs);
  }

  takeDue(now: Millis): number | undefined {
    return this.moments.takeDue(now);
  }

  /** What is charged to those whose claims it is known of now. */
  drop(index: number): readonly Charge[] {
    const charges = this.running.get(index)?.settle() ?? [];
    this.running.delete(index);
    this.moments.delete(index);
    return charges;
  }

  /** This process was stopped for `lateMs`: every suspect gets that time again. */
  extend(lateMs: Millis, now: Millis): void {
    for (const [index, suspicion] of this.running) {
      suspicion.extend(lateMs);
      this.schedule(index, now);
    }
  }
}
