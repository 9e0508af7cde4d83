/**
 * The Huffman code of HPACK (RFC 7541 appendix B). It is canonical, so the lengths say it all: codes of one
 * length count up by symbol, and each length goes on where the one before ended.
 */

/** Bits of the code of each byte; the 257th is the end of string, which never appears. */
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const endOfString = 256;
const longestCode = 30;

const codes = new Uint32Array(257);
const lengths = Uint8Array.from(codeLengths);

function assignCodes(): void {
  let next = 0;
  for (let length = 1; length <= longestCode; length++) {
    next *= 2;
    for (let symbol = 0; symbol < lengths.length; symbol++)
      if (lengths[symbol] === length) codes[symbol] = next++;
  }
}

/**
 * The decoder as a machine over half bytes. A state is an inner node of the code's tree, 0 its root; an entry
 * is `next state << 9 | has symbol << 8 | symbol`, or `broken`. No code is shorter than five bits, so four
 * bits complete one symbol at most.
 */
const hasSymbol = 0x100;
const broken = -1;
const machine = new Int32Array(256 * 16);
/** States where a string may end: at most seven bits into the end of string, which is all ones. */
const mayEnd = new Uint8Array(256);

function buildMachine(): void {
  // Children of a node: another node, or a leaf as -1 - symbol. No node is a child of itself: 0 is "none yet".
  const children: [number, number][] = [[0, 0]];
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    let node = 0;
    for (let bit = lengths[symbol]! - 1; bit >= 0; bit--) {
      const side = ((codes[symbol]! >>> bit) & 1) as 0 | 1;
      if (bit === 0) children[node]![side] = -1 - symbol;
      else {
        if (children[node]![side] === 0) children[node]![side] = children.push([0, 0]) - 1;
        node = children[node]![side];
      }
    }
  }
  for (let state = 0; state < children.length; state++)
    for (let nibble = 0; nibble < 16; nibble++) machine[state * 16 + nibble] = step(children, state, nibble);
  for (let node = 0, bits = 0; bits < 8; bits++) {
    mayEnd[node] = 1;
    node = children[node]![1];
  }
}

function step(children: readonly [number, number][], from: number, nibble: number): number {
  let node = from;
  let symbol = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = children[node]![((nibble >> bit) & 1) as 0 | 1];
    if (next === -1 - endOfString) return broken;
    if (next < 0) symbol = hasSymbol | (-1 - next);
    node = Math.max(next, 0);
  }
  return (node << 9) | symbol;
}

let isBuilt = false;

/** With the first string: most threads that load this never speak HTTP/2, and it takes long enough to be compiled. */
function build(): void {
  isBuilt = true;
  assignCodes();
  buildMachine();
}

/** The most bytes that `count` coded bytes can stand for. */
export function decodedAtMost(count: number): number {
  return Math.ceil((count * 8) / 5);
}

/**
 * Decodes `bytes[start, end)` to `output` at `at`, which has room for `decodedAtMost` bytes. Returns the offset
 * after the last decoded byte, or -1: an end of string within, or padding that is too long or not all ones.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  at: number,
): number {
  if (!isBuilt) build();
  let state = 0;
  let to = at;
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    let entry = machine[(state << 4) | (byte >> 4)];
    if (entry === broken) return -1;
    if ((entry & hasSymbol) !== 0) output[to++] = entry;
    entry = machine[((entry >> 9) << 4) | (byte & 15)];
    if (entry === broken) return -1;
    if ((entry & hasSymbol) !== 0) output[to++] = entry;
    state = entry >> 9;
  }
  return mayEnd[state] === 1 ? to : -1;
}

/** How many bytes `encodeHuffman` would write. */
export function huffmanLength(bytes: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let i = start; i < end; i++) bits += lengths[bytes[i]];
  return (bits + 7) >>> 3;
}

/** Encodes `bytes[start, end)` to `output` at `at`. Returns the offset after the last byte. */
export function encodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  at: number,
): number {
  if (!isBuilt) build();
  let to = at;
  // Bits not written yet, in the low end: never more than seven between symbols.
  let held = 0;
  let heldBits = 0;
  for (let i = start; i < end; i++) {
    const code = codes[bytes[i]];
    let left = lengths[bytes[i]];
    while (left > 0) {
      const taken = Math.min(8 - heldBits, left);
      left -= taken;
      held = (held << taken) | ((code >>> left) & ((1 << taken) - 1));
      heldBits += taken;
      if (heldBits === 8) {
        output[to++] = held;
        held = heldBits = 0;
      }
    }
  }
  if (heldBits > 0) output[to++] = (held << (8 - heldBits)) | (0xff >> heldBits);
  return to;
}
