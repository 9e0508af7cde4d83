/**
 * What ring_hash and maglev share: a table over all endpoints in which a hash has its place, and the way on
 * from there when the endpoint at that place is not to be used. So one that is out of rotation for a while
 * changes nothing for the keys of the others.
 */
import type { Millis, Random } from '../../core.ts';
import type { Chooser } from './chooser.ts';
import { noHash } from './chooser.ts';
import type { BalancedEndpoint } from './endpoint.ts';

/** Places looked at one after the other before the endpoints themselves are. */
const maxSteps = 256;

export abstract class TableChooser implements Chooser {
  protected readonly endpoints: readonly BalancedEndpoint[];
  private readonly random: Random;

  /** There is at least one endpoint. */
  constructor(endpoints: readonly BalancedEndpoint[], random: Random) {
    this.endpoints = endpoints;
    this.random = random;
  }

  /** For each place in the table an index into `endpoints`. */
  protected abstract readonly places: Int32Array;

  protected abstract placeOf(hash: number): number;

  /** Requests without a hash go anywhere, by weight. */
  choose(_now: Millis, exclude: string | undefined, hash: number): BalancedEndpoint | null {
    const key = hash === noHash ? Math.floor(this.random.next() * 2 ** 32) : hash;
    const { places, endpoints } = this;
    let place = this.placeOf(key);
    for (let i = Math.min(maxSteps, places.length); i > 0; i--) {
      const endpoint = endpoints[places[place]!]!;
      if (endpoint.inRotation && endpoint.id !== exclude) return endpoint;
      place = place + 1 === places.length ? 0 : place + 1;
    }
    return this.scan(key, exclude);
  }

  private scan(key: number, exclude: string | undefined): BalancedEndpoint | null {
    const count = this.endpoints.length;
    for (let i = 0; i < count; i++) {
      const endpoint = this.endpoints[((key % count) + i) % count]!;
      if (endpoint.inRotation && endpoint.id !== exclude) return endpoint;
    }
    return null;
  }
}
