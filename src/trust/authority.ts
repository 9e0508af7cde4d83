/** Who may write what: the one answer every host gives for a record, from the genesis, grants and admissions. */
import { Fault, type HostId, type Millis } from '../core.ts';
import { type AdmissionContext, judgeAdmission, parseAdmission } from './admission/admission.ts';
import { checkDenial } from './admission/denial.ts';
import { type GrantValue, parseGrant } from './admission/grant.ts';
import type { TrustBundle } from './bundle.ts';
import {
  admissionKind,
  denialKind,
  grantKind,
  type Refusal,
  refuse,
  type SignedStatement,
  trustRootKind,
  wallClock,
} from './statement.ts';

/** Whether a key may sign policy, and else why not. */
export type OperatorStanding = 'operator' | 'expired' | 'revoked' | 'unknown';

/** What judging needs to look up; `TrustState` answers it. */
export interface AuthorityContext extends AdmissionContext {
  readonly bundle: TrustBundle;
  /** Denied hosts, too: replicas stay alike whenever each heard of a denial, and what those say counts nowhere. */
  wasAdmitted(host: HostId): boolean;
  /** What lets `key` sign policy at `at`; see `TrustState.operatorStanding`. */
  operatorStanding(key: HostId, at: Millis): OperatorStanding;
}

/**
 * Null admits the statement, whose signature was verified before. Host scope: an admission proves itself, and
 * everything else needs an admitted author. Policy scope: operators, by the time the record claims; roots
 * prove themselves. Kinds that this version does not know follow the rule of their scope. Beside the codes of
 * `judgeAdmission`, `TrustBundle.judge` and `checkDenial`: `not-admitted` (later), `not-operator` (later),
 * `operator-expired`, `operator-revoked`, `not-first-operator`, `grant-permanent`, `admission-permanent`,
 * `grant-malformed`, `admission-malformed`.
 */
export function judgeRecord(
  statement: SignedStatement,
  context: AuthorityContext,
  now: Millis,
): Refusal | null {
  try {
    return statement.scope === 'host'
      ? judgeHostRecord(statement, context, now)
      : judgePolicyRecord(statement, context, now);
  } catch (error) {
    if (error instanceof Fault) return refuse(error.code, error.message);
    throw error;
  }
}

function judgeHostRecord(statement: SignedStatement, context: AuthorityContext, now: Millis): Refusal | null {
  if (statement.kind === admissionKind) {
    if (statement.deleted)
      return refuse('admission-permanent', 'an admission is replaced or denied, never deleted');
    if (statement.key !== '') return refuse('admission-malformed', 'a host has one admission, of key ""');
    return judgeAdmission(parseAdmission(statement.value), statement.author, context, now);
  }
  if (!context.wasAdmitted(statement.author))
    return refuse('not-admitted', 'its author is not admitted to the mesh', true);
  return null;
}

function judgePolicyRecord(
  statement: SignedStatement,
  context: AuthorityContext,
  now: Millis,
): Refusal | null {
  const standing = judgeOperator(statement, context);
  if (statement.kind === trustRootKind) return context.bundle.judge(statement);
  if (standing !== null) return standing;
  if (statement.kind === grantKind) return judgeGrant(statement, context);
  if (statement.kind === denialKind) checkDenial(statement, now);
  return null;
}

function judgeOperator(statement: SignedStatement, context: AuthorityContext): Refusal | null {
  switch (context.operatorStanding(statement.author, wallClock(statement.hlc))) {
    case 'operator':
      return null;
    case 'expired':
      return refuse('operator-expired', 'the operator token that signed it had expired');
    case 'revoked':
      return refuse('operator-revoked', 'the operator token that signed it was revoked');
    case 'unknown':
      return refuse('not-operator', 'its author is not an operator of the mesh', true);
  }
}

/** Only the first operator makes operators: else a revoked one would live on in those it made. */
function judgeGrant(statement: SignedStatement, context: AuthorityContext): Refusal | null {
  if (statement.deleted)
    return refuse('grant-permanent', 'a grant is revoked by writing it with revokedAt, never deleted');
  const grant: GrantValue = parseGrant(statement.value, statement.key);
  if (grant.roles.includes('operator') && statement.author !== context.genesis.operatorKey)
    return refuse('not-first-operator', 'only the first operator may make or revoke operators');
  return null;
}
