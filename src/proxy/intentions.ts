/**
 * Who may call whom, at L4: Consul's intentions and their precedence. The destination's exactness outweighs
 * the source's (Consul, "Service intentions: precedence and match order"; 9, 8, 6, 5 without namespaces).
 */
import { byCodeUnit } from '../core.ts';
import type { SourceRule } from './config.ts';
import type { IntentionView } from './view.ts';

/** Stands for every service, on either side of an intention. */
export const wildcard = '*';

/** Consul's number for an intention: of all that match a pair, the highest decides. */
export function precedence(source: string, destination: string): number {
  if (destination !== wildcard) return source !== wildcard ? 9 : 8;
  return source !== wildcard ? 6 : 5;
}

/**
 * The rules that callers of `destination` meet, the first match decides. Rules that can never decide are
 * left out, so at most one `*` is there, and it is the last. Of two intentions for the very same pair `deny`
 * wins, whatever the order of the input.
 */
export function rulesFor(destination: string, intentions: readonly IntentionView[]): SourceRule[] {
  const matching = intentions
    .filter((intention) => intention.destination === destination || intention.destination === wildcard)
    .sort(byPrecedence);
  const rules: SourceRule[] = [];
  const decided = new Set<string>();
  for (const { source, action, permissions, rule } of matching) {
    if (decided.has(source)) continue;
    decided.add(source);
    rules.push({ source, action, permissions, rule });
    if (source === wildcard) break;
  }
  return rules;
}

/** Higher precedence first, then by source, `deny` first, then by rule: total, for any input order. */
function byPrecedence(a: IntentionView, b: IntentionView): number {
  return (
    precedence(b.source, b.destination) - precedence(a.source, a.destination) ||
    byCodeUnit(a.source, b.source) ||
    (a.action === b.action ? byCodeUnit(a.rule, b.rule) : a.action === 'deny' ? -1 : 1)
  );
}

/** What happens to a caller, and which rule says so; `rule` is null when the default does. */
export interface Decision {
  readonly action: 'allow' | 'deny';
  readonly rule: string | null;
}

/** The first rule that speaks of a caller; null where none does. `rules` are as `rulesFor` orders them. */
export function ruleFor(rules: readonly SourceRule[], source: string): SourceRule | null {
  return rules.find((rule) => rule.source === source || rule.source === wildcard) ?? null;
}

/** Decides on a caller by the first rule that matches, at layer 4. */
export function decide(
  rules: readonly SourceRule[],
  defaultAction: 'allow' | 'deny',
  source: string,
): Decision {
  const rule = ruleFor(rules, source);
  return rule === null ? { action: defaultAction, rule: null } : { action: rule.action, rule: rule.rule };
}
