/**
 * How many tapped requests may be on their way from one thread to another that does not keep up: what comes beyond
 * is lost, and counted, for a port between threads has no bound of its own. Pure; one end each.
 */

/** Of all taps together, as many as fit their readers' own queues. */
export const maxUntaken = 4096;
/** So many are acknowledged together. */
export const takenTogether = 128;

/** Where they come from. */
export class TapWindow {
  lost = 0;
  private untaken = 0;

  /** Whether one may go now. */
  admits(): boolean {
    if (this.untaken >= maxUntaken) {
      this.lost++;
      return false;
    }
    this.untaken++;
    return true;
  }

  taken(): void {
    this.untaken -= takenTogether;
  }
}

/** Where they arrive. */
export class TapReceipts {
  private count = 0;

  /** One was taken; whether it is time to acknowledge. */
  take(): boolean {
    this.count = (this.count + 1) % takenTogether;
    return this.count === 0;
  }
}
