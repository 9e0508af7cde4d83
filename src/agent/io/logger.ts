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

/** `2026-01-01T00:00:00.000Z info member-down host=two` instead of JSON. */
function writeText(line: string): void {
  const { level, time, event, ...fields } = JSON.parse(line) as { [name: string]: unknown };
  const shown = Object.entries(fields).map(([name, value]) => ` ${name}=${textOf(value)}`);
  process.stderr.write(
    `${String(time)} ${pino.levels.labels[Number(level)] ?? ''} ${String(event)}${shown.join('')}\n`,
  );
}

function textOf(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}
