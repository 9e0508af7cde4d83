/** When one statement about a member outranks another: the whole table, nowhere else. */
import type { MemberState } from '../port.ts';

/** What is held, or claimed, about a member. */
export interface Standing {
  readonly state: MemberState;
  readonly incarnation: number;
}

/** Which incarnations of a claim beat the standing held: strictly newer ones, equal ones too, or none. */
type Rule = 'newer' | 'newer-or-equal' | 'never';

/**
 * Rows: what is held. Columns: what is claimed. SWIM (Das et al. 2002) section 4.2:
 * - alive(i) overrides suspect(j) and alive(j) for i > j;
 * - suspect(i) overrides alive(j) for i >= j, and suspect(j) for i > j;
 * - confirm overrides alive and suspect.
 * Where this diverges: a member found down may come back by raising its own incarnation (in the paper it
 * needs a new identity), hence alive(i) overrides down(j) for i > j, and down(i) needs i >= j. `left` is
 * no rumor: it is proven by the member's own signed record, which outranks all up to its incarnation.
 */
const table: { readonly [held in MemberState]: { readonly [claimed in MemberState]: Rule } } = {
  alive: { alive: 'newer', suspect: 'newer-or-equal', down: 'newer-or-equal', left: 'newer-or-equal' },
  suspect: { alive: 'newer', suspect: 'newer', down: 'newer-or-equal', left: 'newer-or-equal' },
  down: { alive: 'newer', suspect: 'never', down: 'newer', left: 'newer-or-equal' },
  left: { alive: 'newer', suspect: 'never', down: 'never', left: 'newer' },
};

/** Whether `claim` replaces `held`. An incarnation never falls: every rule needs at least the same. */
export function outranks(claim: Standing, held: Standing): boolean {
  const rule = table[held.state][claim.state];
  if (rule === 'never') return false;
  return rule === 'newer' ? claim.incarnation > held.incarnation : claim.incarnation >= held.incarnation;
}
