/** What the shell of an agent knows of itself when all is well. */
import type { ShellFacts } from '../../src/agent/diagnosis.ts';

export const well: ShellFacts = {
  dataPlane: null,
  conflicts: [],
  fileProblems: [],
  storeProblem: null,
  damagedEntries: 0,
  missingRootKey: null,
  damagedShares: 0,
  loopLagMs: 0,
  membershipLagMs: 0,
  slowestWritesMs: null,
};
