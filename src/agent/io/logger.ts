/** The agent's log: JSON lines or readable ones on stderr. stdout is for the ready line alone. */
import pino, { type Logger } from 'pino';
import type { AgentSettings } from '../settings.ts';

export type { Logger };

export function createLogger({ logFormat, logLevel }: Pick<AgentSettings, 'logFormat' | 'logLevel'>): Logger {
  const destination = logFormat === 'json' ? pino.destination({ dest: 2, sync: true }) : { write: writeText };
  return pino(
    { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'event' },
    destination,
  );
}

function writeText(line: string): void {
  process.stderr.write(readableLine(line));
}

/** `2026-01-01T00:00:00.000Z info member-down host=two` instead of JSON. */
export function readableLine(line: string): string {
  const { level, time, event, ...fields } = JSON.parse(line) as { [name: string]: unknown };
  const shown = Object.entries(fields).map(([name, value]) => ` ${name}=${textOf(value)}`);
  return `${String(time)} ${pino.levels.labels[Number(level)] ?? ''} ${String(event)}${shown.join('')}\n`;
}

/** Bare where that cannot be misread. What peers sent may hold anything, so no control character gets out. */
function textOf(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (/^[^\s"=\p{C}]+$/u.test(text)) return text;
  return JSON.stringify(text).replace(
    /\p{C}/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}
