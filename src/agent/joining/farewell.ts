/** How an agent leaves: it says goodbye, gives that time to travel, answers everyone who asked, and stops. Pure. */
import { Fault, type Millis } from '../../core.ts';
import type { AgentEffect } from '../effects.ts';

/** How long a durable goodbye has to reach the others before the process stops. */
export const farewellMs = 250;
/** How long the disk may take over it: an agent that was told to stop does stop. */
export const farewellPatienceMs = 2000;
/** Callers that wait for one leave; more are refused. */
const maxRequests = 1000;

export class Farewell {
  private at: Millis | null = null;
  private requests: number[] = [];

  get isUnderWay(): boolean {
    return this.at !== null;
  }

  nextWake(): Millis | null {
    return this.at;
  }

  /** Somebody asks to leave, perhaps not as the first. `Fault('overloaded')` beyond a thousand. */
  begin(request: number, now: Millis): void {
    if (this.requests.length >= maxRequests) throw new Fault('overloaded', 'the agent is leaving already');
    this.requests.push(request);
    this.at ??= now + farewellPatienceMs;
  }

  /** The goodbye is durable, and published. */
  durable(now: Millis): void {
    if (this.at !== null) this.at = Math.min(this.at, now + farewellMs);
  }

  /** Answers and stops, once it is time. */
  wake(now: Millis): AgentEffect[] {
    if (this.at === null || now < this.at) return [];
    const replies = this.requests.map((request): AgentEffect => ({ type: 'reply', request, value: null }));
    this.requests = [];
    this.at = null;
    return [...replies, { type: 'stop' }];
  }
}
