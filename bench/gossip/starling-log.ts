/** Reads what `starling agent --log-format json` prints. */
import type { Fact } from './sightings.ts';

/** The name that the agent of a host gets. */
export function starlingName(host: number): string {
  return `h${host}`;
}

const types: { readonly [event: string]: 'alive' | 'suspect' | 'down' | undefined } = {
  'member-alive': 'alive',
  'member-suspect': 'suspect',
  'member-down': 'down',
};

/** What an agent has learned by this line of its log; null for all other lines. */
export function parseStarlingLine(line: string): Fact | null {
  if (!line.includes('"event":"member-')) return null;
  const { event, host } = JSON.parse(line) as { event?: string; host?: string };
  const type = types[event ?? ''];
  const number = /^h(\d+)$/.exec(host ?? '');
  return type === undefined || number === null ? null : { type, about: Number(number[1]) };
}
