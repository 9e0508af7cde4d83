/** What stays in its slot whatever is written later: revoked grants, denials, roots that are linked to others. */
import { denialFinality } from './admission/denial.ts';
import { grantFinality } from './admission/grant.ts';
import { rootFinality } from './root-record.ts';
import type { SignedStatement } from './statement.ts';

/** See `Finality`; 0 for what the later writing replaces. */
export function finalityOf(statement: SignedStatement): number {
  return grantFinality(statement) || denialFinality(statement) || rootFinality(statement);
}
