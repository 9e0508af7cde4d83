/** What a benchmark leaves behind: rows for the JSON file, and the same as a table for people. */

/** One metric of one subject, beside the same metric of one peer where there is something to compare with. */
export interface Row {
  readonly bench: string;
  readonly subject: string;
  /** What it is compared with; empty when it stands alone. */
  readonly peer: string;
  readonly metric: string;
  readonly unit: string;
  /** Null where the subject cannot do what was to be measured. */
  readonly value: number | null;
  readonly peerValue: number | null;
  /** value / peerValue: below 1 is better for cost and time. Null without a peer or with a peer of zero or less. */
  readonly ratio: number | null;
}

export interface Measured {
  readonly bench: string;
  readonly subject: string;
  readonly peer?: string;
  readonly metric: string;
  readonly unit: string;
  readonly value: number | null;
  readonly peerValue?: number | null;
}

/** Completes a row with its ratio. */
export function row(measured: Measured): Row {
  const { bench, subject, peer = '', metric, unit, value, peerValue = null } = measured;
  return { bench, subject, peer, metric, unit, value, peerValue, ratio: ratioOf(value, peerValue) };
}

/** A difference of two measurements can come out at or below zero by noise; dividing by it would mislead. */
function ratioOf(value: number | null, peerValue: number | null): number | null {
  return value === null || peerValue === null || peerValue <= 0 ? null : value / peerValue;
}

/** Three significant digits below 1000, whole numbers from there on; `-` for nothing. */
export function readable(value: number | null): string {
  if (value === null) return '-';
  const size = Math.abs(value);
  if (size >= 1000) return String(Math.round(value));
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** The rows as aligned text, numbers to the right. */
export function table(rows: readonly Row[]): string {
  return grid(
    ['metric', 'unit', 'subject', 'value', 'peer', 'value', 'ratio'],
    rows.map((it) => [
      it.metric,
      it.unit,
      it.subject,
      readable(it.value),
      it.peer || '-',
      readable(it.peerValue),
      it.ratio === null ? '-' : it.ratio.toFixed(2),
    ]),
  );
}

/** Lines of cells in columns; a column whose cells are all numbers or `-` is set to the right. */
export function grid(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...lines.map((cells) => cells[column]!.length)),
  );
  const numeric = head.map(
    (_, column) => lines.length > 0 && lines.every((cells) => /^(-|-?[\d.]+)$/.test(cells[column]!)),
  );
  const format = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        numeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [head, widths.map((width) => '-'.repeat(width)), ...lines].map(format).join('\n');
}
