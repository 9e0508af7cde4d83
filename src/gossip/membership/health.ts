/**
 * How well this agent itself is doing: one that is starved of processor or network gives others more time
 * before it accuses them. Source: Lifeguard (Dadgar et al. 2018), section IV.A, "Local Health Multiplier".
 */
export class LocalHealth {
  private readonly worst: number;
  private value = 0;

  constructor(worst: number) {
    this.worst = worst;
  }

  /** 0 is well; up to `worst`. */
  get score(): number {
    return this.value;
  }

  /** Stretches a timeout or an interval by one plus the score. */
  scale(milliseconds: number): number {
    return milliseconds * (1 + this.value);
  }

  better(): void {
    this.value = Math.max(0, this.value - 1);
  }

  worse(by = 1): void {
    this.value = Math.min(this.worst, this.value + by);
  }
}
