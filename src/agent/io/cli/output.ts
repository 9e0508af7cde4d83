/** How the CLI shows things: aligned tables for people, JSON for programs, colours on a terminal only. */
import picocolors from 'picocolors';

const colors = picocolors.createColors(process.stdout.isTTY === true && process.env.NO_COLOR === undefined);

export type Tone = 'good' | 'bad' | 'warn' | 'dim' | 'plain';

/** Text in the colour of its meaning; unchanged where there are no colours. */
export function tinted(text: string, tone: Tone): string {
  if (tone === 'good') return colors.green(text);
  if (tone === 'bad') return colors.red(text);
  if (tone === 'warn') return colors.yellow(text);
  return tone === 'dim' ? colors.dim(text) : text;
}

export interface Cell {
  readonly text: string;
  readonly tone?: Tone;
}

/** Columns as wide as their widest cell, two spaces apart, no trailing spaces. */
export function table(header: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? { text: cell } : cell)));
  const widths = header.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.text.length ?? 0)),
  );
  const line = (row: readonly Cell[]): string =>
    row
      .map((cell, column) => {
        const padding =
          column === header.length - 1 ? '' : ' '.repeat(widths[column]! - cell.text.length + 2);
        return tinted(cell.text, cell.tone ?? 'plain') + padding;
      })
      .join('')
      .trimEnd();
  return [line(header.map((text): Cell => ({ text, tone: 'dim' }))), ...cells.map(line)].join('\n');
}

/** Control characters of others' text must not reach the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '?');
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** `3m12s` and the like, for people. */
export function ago(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
  return `${Math.floor(seconds / 86_400)}d${Math.floor((seconds % 86_400) / 3600)}h`;
}
