/**
 * `round_robin`: in turn, spread evenly by weight. Each choice credits every endpoint with its share and takes
 * all that was credited from the one that is ahead (nginx's smooth weighted round robin).
 */
import type { Millis, Random } from '../../core.ts';
import type { Chooser } from './chooser.ts';
import type { BalancedEndpoint } from './endpoint.ts';

export class RoundRobinChooser implements Chooser {
  private readonly endpoints: readonly BalancedEndpoint[];
  private readonly isUniform: boolean;
  /** Where the next turn begins: by chance at first, else all callers would begin with the same endpoint. */
  private next: number;

  /** There is at least one endpoint. Credits go on from where an earlier chooser left them. */
  constructor(endpoints: readonly BalancedEndpoint[], random: Random) {
    this.endpoints = endpoints;
    this.isUniform = endpoints.every(({ share }) => share === endpoints[0]!.share);
    this.next = Math.floor(random.next() * endpoints.length);
  }

  choose(_now: Millis, exclude: string | undefined, _hash: number): BalancedEndpoint | null {
    return this.isUniform ? this.inTurn(exclude) : this.byCredit(exclude);
  }

  private inTurn(exclude: string | undefined): BalancedEndpoint | null {
    const count = this.endpoints.length;
    for (let i = 0; i < count; i++) {
      const endpoint = this.endpoints[this.next]!;
      this.next = this.next + 1 === count ? 0 : this.next + 1;
      if (endpoint.id !== exclude) return endpoint;
    }
    return null;
  }

  private byCredit(exclude: string | undefined): BalancedEndpoint | null {
    const { endpoints } = this;
    const count = endpoints.length;
    let ahead: BalancedEndpoint | null = null;
    let credited = 0;
    let index = this.next;
    for (let i = 0; i < count; i++, index = index + 1 === count ? 0 : index + 1) {
      const endpoint = endpoints[index]!;
      if (endpoint.id === exclude) continue;
      endpoint.credit += endpoint.share;
      credited += endpoint.share;
      if (ahead === null || endpoint.credit > ahead.credit) ahead = endpoint;
    }
    if (ahead !== null) ahead.credit -= credited;
    return ahead;
  }
}
