/**
 * `maglev`: a table of fixed size in which endpoints take turns to claim the places they prefer; as even as can
 * be, one lookup a pick, and few keys move when an endpoint comes or goes (Eisenbud et al., "Maglev: A Fast and
 * Reliable Software Network Load Balancer", NSDI 2016, section 3.4; weights as Envoy's).
 */
import type { Random } from '../../core.ts';
import type { BalancedEndpoint } from './endpoint.ts';
import { xxHash32 } from './hash.ts';
import { TableChooser } from './table.ts';

/** A prime, the smaller of the paper's two sizes: shares are right within 1 % for some hundred endpoints. */
export const maglevTableSize = 65_537;

const offsetSeed = 0;
const skipSeed = 1;

export class MaglevChooser extends TableChooser {
  protected readonly places: Int32Array;

  constructor(endpoints: readonly BalancedEndpoint[], random: Random) {
    super(endpoints, random);
    this.places = claimedPlaces(endpoints);
  }

  protected placeOf(hash: number): number {
    return hash % maglevTableSize;
  }
}

function claimedPlaces(endpoints: readonly BalancedEndpoint[]): Int32Array {
  const places = new Int32Array(maglevTableSize).fill(-1);
  const heaviest = endpoints.reduce((most, { weight }) => Math.max(most, weight), 0);
  const ids = endpoints.map(({ id }) => Buffer.from(id, 'utf8'));
  /** Each endpoint's next preference, and how far apart they are. */
  const next = ids.map((id) => xxHash32(id, 0, id.length, offsetSeed) % maglevTableSize);
  const skip = ids.map((id) => (xxHash32(id, 0, id.length, skipSeed) % (maglevTableSize - 1)) + 1);
  /** What each has been due, as a sum of weights; in its turn it claims a place once it is due one. */
  const due = endpoints.map(() => 0);
  let claimed = 0;
  for (let turn = 1; claimed < maglevTableSize; turn++)
    for (let i = 0; i < endpoints.length && claimed < maglevTableSize; i++) {
      if (turn * endpoints[i]!.weight < due[i]!) continue;
      due[i]! += heaviest;
      while (places[next[i]!] !== -1) next[i] = (next[i]! + skip[i]!) % maglevTableSize;
      places[next[i]!] = i;
      claimed++;
    }
  return places;
}
