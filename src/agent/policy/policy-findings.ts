/** What is wrong with the mesh's policy as it stands, which no write would have been let to bring about. Pure. */
import { byCodeUnit } from '../../core.ts';
import { problemsIn } from '../entries/consistency.ts';
import { unreadEntries } from '../entries/view.ts';
import type { Finding } from '../port.ts';
import type { Policies } from './policy.ts';

/** As many are told one by one: the entries of one mistake may be many. */
const mostFindings = 20;

/**
 * Entries that do not do what they say: two operators wrote at once in two places, or a newer version wrote what
 * this one does not know.
 */
export function policyFindings(policies: Policies): Finding[] {
  const problems = problemsIn(policies).map(({ rule, field, message }) =>
    warning(
      rule,
      `${field}: ${message}`,
      'it does not do what it says: write this entry, or the one that it names, anew',
    ),
  );
  const unread = unreadEntries(policies.all()).map(({ kind, name, problem }) =>
    warning(`${kind}/${name}`, problem, 'upgrade this agent, or write the entry anew'),
  );
  const all = [...problems, ...unread].sort((a, b) => byCodeUnit(a.subject, b.subject));
  if (all.length <= mostFindings) return all;
  const more = warning('policy', `${all.length - mostFindings} more entries do not do what they say`, '');
  return [...all.slice(0, mostFindings), more];
}

function warning(subject: string, detail: string, hint: string): Finding {
  return { grade: 'warning', subject, detail, hint };
}
