/** Gives the path of a request another beginning. */
import type { PathMatch } from '../policy.ts';
import { visible } from './bytes.ts';
import { targetOf } from './facts.ts';
import type { RequestHead } from './head.ts';

/**
 * Puts `replacement` in place of what `match` matched: the prefix, or the whole path where the match was exact.
 * A regular expression matches the whole path too. Without a match of the path its root is replaced.
 */
export function compileRewrite(
  replacement: string,
  match: PathMatch | null,
): (bytes: Buffer, head: RequestHead) => Buffer {
  const replaced = replacedLength(match);
  const beginning = visible(replacement);
  return (bytes, head) => {
    const target = targetOf(bytes, head);
    const queryAt = target.indexOf('?');
    const path = queryAt < 0 ? target : target.slice(0, queryAt);
    const query = queryAt < 0 ? '' : target.slice(queryAt);
    return Buffer.from(joined(beginning, path.slice(replaced)) + query, 'latin1');
  };
}

/** The slash that a prefix ends with is left to the rest, so that none is lost whatever the replacement ends with. */
function replacedLength(match: PathMatch | null): number {
  if (match === null) return 0;
  return match.type === 'prefix' ? match.value.replace(/\/$/, '').length : Infinity;
}

/** With one slash in front, and one between the two where both bring one. */
function joined(replacement: string, rest: string): string {
  const beginning = replacement.startsWith('/') ? replacement : `/${replacement}`;
  return beginning.endsWith('/') && rest.startsWith('/') ? beginning + rest.slice(1) : beginning + rest;
}
