/** The three things a member does over and over, and when each is next due. */
import { earliest, type Millis, type Random } from '../../core.ts';
import type { SwimParameters } from '../parameters.ts';

/** What there is to do, as of now; a rhythm with nothing to do stands still. */
interface Occasion {
  readonly hasCompany: boolean;
  readonly hasRumors: boolean;
  readonly hasDown: boolean;
  readonly leaving: boolean;
}

export class Rhythm {
  private readonly parameters: SwimParameters;
  private readonly random: Random;
  private roundAt: Millis | null = null;
  private rumorAt: Millis | null = null;
  private downProbeAt: Millis | null = null;
  /** Probes of down members that follow quickly, since one of them came back. */
  private hastened = 0;

  constructor(parameters: SwimParameters, random: Random) {
    this.parameters = parameters;
    this.random = random;
  }

  nextWake(): Millis | null {
    return earliest(this.roundAt, this.rumorAt, this.downProbeAt);
  }

  /** Starts what has become possible, at a random phase so that agents do not beat in step; stops the rest. */
  arm(occasion: Occasion, now: Millis): void {
    const { probeIntervalMs, rumorIntervalMs } = this.parameters;
    const { hasCompany, hasRumors, hasDown, leaving } = occasion;
    if (!hasCompany || leaving) this.roundAt = null;
    else this.roundAt ??= now + this.random.next() * probeIntervalMs;
    if (!hasCompany || !hasRumors) this.rumorAt = null;
    else this.rumorAt ??= now + this.random.next() * rumorIntervalMs;
    if (!hasDown || leaving) this.downProbeAt = null;
    else this.downProbeAt ??= now + this.downProbeDelayMs();
  }

  private downProbeDelayMs(): Millis {
    const { downProbeIntervalMs, healProbeIntervalMs } = this.parameters;
    return this.hastened > 0 ? healProbeIntervalMs : downProbeIntervalMs * (0.5 + this.random.next());
  }

  /** Whether a probe round is due; the next follows after `intervalMs`, which local health stretches. */
  takeRound(intervalMs: Millis, now: Millis): boolean {
    if (!isDue(this.roundAt, now)) return false;
    this.roundAt = now + intervalMs;
    return true;
  }

  takeRumor(now: Millis): boolean {
    if (!isDue(this.rumorAt, now)) return false;
    this.rumorAt = now + this.parameters.rumorIntervalMs;
    return true;
  }

  /** The next one is set by `arm`, if anybody is still down. */
  takeDownProbe(now: Millis): boolean {
    if (!isDue(this.downProbeAt, now)) return false;
    this.downProbeAt = null;
    if (this.hastened > 0) this.hastened--;
    return true;
  }

  /** A down member came back: the others, `count` of them, may be back too, and each is looked at soon. */
  hastenDownProbe(count: number, now: Millis): void {
    this.hastened = count;
    this.downProbeAt = Math.min(
      this.downProbeAt ?? Number.POSITIVE_INFINITY,
      now + this.parameters.healProbeIntervalMs,
    );
  }
}

function isDue(deadline: Millis | null, now: Millis): boolean {
  return deadline !== null && deadline <= now;
}
