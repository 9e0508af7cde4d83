/** Reads what `serf agent -log-level=info` prints. */
import type { Fact } from './sightings.ts';

/** The name that the agent of a host gets, and back. */
export function serfName(host: number): string {
  return `n${host}`;
}

/** A user event is told apart by its name, a change of tags only by whose tags they are. */
export function tagLabel(host: number): string {
  return `tags of ${serfName(host)}`;
}

const membership =
  /\[INFO\] (?:serf: EventMember(Join|Failed|Update): n(\d+)\b|memberlist: Suspect n(\d+) has failed)/;
const userEvent = /\[INFO\] agent: Received event: user-event: (\S+)/;

/** What an agent has learned by this line of its log; null for all other lines. */
export function parseSerfLine(line: string): Fact | null {
  const event = userEvent.exec(line);
  if (event !== null) return { type: 'change', label: event[1]! };
  const match = membership.exec(line);
  if (match === null) return null;
  const [, what, about, suspect] = match;
  if (suspect !== undefined) return { type: 'suspect', about: Number(suspect) };
  if (what === 'Update') return { type: 'change', label: tagLabel(Number(about)) };
  return { type: what === 'Join' ? 'alive' : 'down', about: Number(about) };
}
