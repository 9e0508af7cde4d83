/** What stays in its slot whatever is written later: revoked grants and denials. */
import { denialFinality } from './denial.ts';
import { grantFinality } from './grant.ts';
import type { SignedStatement } from './statement.ts';

/** See `Finality`; 0 for what the later writing replaces. */
export function finalityOf(statement: SignedStatement): number {
  return grantFinality(statement) || denialFinality(statement);
}
