/** The agent's log: JSON lines or readable ones on stderr. stdout is for the ready line alone. */
import { writeSync } from 'node:fs';
import pino, { type Logger } from 'pino';
import type { AgentSettings } from '../settings.ts';

export type { Logger };

const stderr = 2;

let lost = 0;

/** Lines that could not be written: their disk is full, or nobody reads them any more. Traffic does not end for that. */
export function linesLost(): number {
  return lost;
}

export function createLogger({ logFormat, logLevel }: Pick<AgentSettings, 'logFormat' | 'logLevel'>): Logger {
  const write = (line: string): void => writeLine(logFormat === 'json' ? line : readableLine(line));
  return pino(
    { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'event' },
    { write },
  );
}

/** Past `process.stderr`, which after one failure never writes again. */
function writeLine(line: string): void {
  const bytes = Buffer.from(line);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(stderr, bytes, written);
  } catch {
    lost++;
  }
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
