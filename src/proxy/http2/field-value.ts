/** Content-Length, as both directions read it. */

/** No length was said. */
export const unknownLength = -1;
/** What was said is no length. */
const malformedLength = -2;

/** The length that `bytes[start, end)` says; less than `unknownLength` where it says none. */
export function lengthOf(bytes: Buffer, start: number, end: number): number {
  // Fifteen digits stay exact in a double.
  if (end === start || end - start > 15) return malformedLength;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i] - 0x30;
    if (digit < 0 || digit > 9) return malformedLength;
    value = value * 10 + digit;
  }
  return value;
}

/** Of a length and one said before: there may be only one, even if both are the same. */
export function onlyLength(before: number, now: number): number {
  return before === unknownLength ? now : malformedLength;
}
