/** Reads what `h2load` prints. */

export interface H2loadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Requests without an answer, and answers other than 2xx. */
  readonly failed: number;
}

/** Throws when the text is not a finished report: a measurement that cannot be read must not pass as one. */
export function parseH2load(text: string): H2loadResult {
  const finished = /^finished in [\d.]+m?s, ([\d.]+) req\/s/m.exec(text);
  const counts = /^requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed/m.exec(text);
  const codes = /^status codes: (\d+) 2xx/m.exec(text);
  if (finished === null || counts === null || codes === null)
    throw new Error(`h2load printed no report: ${text.trim() || '(nothing)'}`);
  const requests = Number(counts[1]);
  const failed = Math.max(Number(counts[2]), requests - Number(codes[1]));
  return { requests, requestsPerSecond: Number(finished[1]), failed };
}
