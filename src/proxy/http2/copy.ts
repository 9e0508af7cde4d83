/** Copying few bytes, which fields mostly are: a loop beats the call into the runtime up to this many. */
const fewBytes = 48;

/** Copies `source[start, end)` to `target` at `at`, where it fits; returns the offset after it. */
export function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): number {
  if (end - start > fewBytes) return at + source.copy(target, at, start, end);
  let to = at;
  for (let i = start; i < end; i++) target[to++] = source[i];
  return to;
}
