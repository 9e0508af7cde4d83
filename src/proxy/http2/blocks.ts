/** Header blocks made of the lines that an engine wrote. */

import { ascii, spells } from '../http1/bytes.ts';
import { isName, te } from '../http1/names.ts';
import { FieldKind } from './field-kind.ts';
import { lengthOf } from './field-value.ts';
import type { HeaderBlock } from './frame-writer.ts';
import { blockOverheadBytes, type Encoder, fieldOverheadBytes } from './hpack/encoder.ts';
import { StaticIndex, staticFields } from './hpack/static-table.ts';
import type { SectionLines } from './lines.ts';

/** Fields that a block may have beyond its lines: the pseudo-fields, and `te`. */
const ownFields = 6;
const ownBytes = 64;

/** By status: the index of those that have one of their own. */
const statusIndices = new Uint8Array(600);
staticFields.forEach(([name, value], i) => {
  if (name === ':status') statusIndices[Number(value)] = i + 1;
});
const schemeHttp = Buffer.from('http');
const teLine = Buffer.from('tetrailers');
const trailersWord = ascii('trailers');
const grpcType = ascii('application/grpc');
const getMethod = ascii('GET');
const postMethod = ascii('POST');
const rootPath = ascii('/');

/** What to encode: set, then written at once, and used again. */
export abstract class LinesBlock implements HeaderBlock {
  protected bytes: Buffer = schemeHttp;
  protected start = 0;
  protected lines: SectionLines | null = null;
  protected encoder: Encoder | null = null;

  set(bytes: Buffer, start: number, lines: SectionLines, encoder: Encoder): this {
    this.bytes = bytes;
    this.start = start;
    this.lines = lines;
    this.encoder = encoder;
    return this;
  }

  /** The most bytes that it takes, if its lines end at `end`. */
  atMost(end: number): number {
    const fields = this.lines!.count + ownFields;
    return end - this.start + fields * fieldOverheadBytes + ownBytes + blockOverheadBytes;
  }

  abstract encode(output: Buffer, at: number): number;

  protected field(output: Buffer, at: number, index: number): number {
    const { nameStarts, nameEnds, valueStarts, valueEnds } = this.lines!;
    return this.encoder!.field(
      output,
      at,
      this.bytes,
      nameStarts[index],
      nameEnds[index],
      valueStarts[index],
      valueEnds[index],
    );
  }
}

class RequestBlock extends LinesBlock {
  private methodEnd = 0;
  private targetEnd = 0;

  /** Where the method and the target of the request line end. */
  target(methodEnd: number, targetEnd: number): this {
    this.methodEnd = methodEnd;
    this.targetEnd = targetEnd;
    return this;
  }

  encode(output: Buffer, from: number): number {
    const lines = this.lines!;
    let at = this.encoder!.begin(output, from);
    at = this.pseudoFields(output, at);
    let takesTrailers = false;
    for (let i = 0; i < lines.count; i++) {
      const kind = lines.kind(i);
      if (kind === FieldKind.te) takesTrailers ||= this.isTrailers(lines.valueStarts[i], lines.valueEnds[i]);
      else if (kind !== FieldKind.connection && kind !== FieldKind.host) {
        // Whoever calls by gRPC takes trailers, else it would not be gRPC.
        if (kind === FieldKind.contentType)
          takesTrailers ||= this.isGrpc(lines.valueStarts[i], lines.valueEnds[i]);
        at = this.field(output, at, i);
      }
    }
    if (!takesTrailers) return at;
    return this.encoder!.field(output, at, teLine, 0, te.length, te.length, teLine.length);
  }

  private pseudoFields(output: Buffer, from: number): number {
    const { bytes, start, methodEnd, targetEnd } = this;
    const encoder = this.encoder!;
    const lines = this.lines!;
    let at = from;
    if (isExactly(bytes, start, methodEnd, getMethod))
      at = encoder.indexed(output, at, StaticIndex.methodGet);
    else if (isExactly(bytes, start, methodEnd, postMethod))
      at = encoder.indexed(output, at, StaticIndex.methodPost);
    else at = encoder.namedField(output, at, StaticIndex.methodGet, bytes, start, methodEnd);
    at = encoder.indexed(output, at, StaticIndex.schemeHttp);
    for (let i = 0; i < lines.count; i++)
      if (lines.kind(i) === FieldKind.host)
        at = encoder.namedField(
          output,
          at,
          StaticIndex.authority,
          bytes,
          lines.valueStarts[i],
          lines.valueEnds[i],
        );
    if (isExactly(bytes, methodEnd + 1, targetEnd, rootPath))
      return encoder.indexed(output, at, StaticIndex.path);
    return encoder.namedField(output, at, StaticIndex.path, bytes, methodEnd + 1, targetEnd);
  }

  private isTrailers(start: number, end: number): boolean {
    return isName(this.bytes, start, end - start, trailersWord);
  }

  private isGrpc(start: number, end: number): boolean {
    return end - start >= grpcType.length && spells(this.bytes, start, grpcType);
  }
}

class ResponseBlock extends LinesBlock {
  encode(output: Buffer, from: number): number {
    const lines = this.lines!;
    const { bytes } = this;
    const encoder = this.encoder!;
    let at = encoder.begin(output, from);
    // `HTTP/1.x nnn`
    const statusAt = this.start + 9;
    const index = statusIndices[lengthOf(bytes, statusAt, statusAt + 3)];
    at =
      index !== 0
        ? encoder.indexed(output, at, index)
        : encoder.namedField(output, at, StaticIndex.status200, bytes, statusAt, statusAt + 3);
    for (let i = 0; i < lines.count; i++) {
      const kind = lines.kind(i);
      if (kind !== FieldKind.connection && kind !== FieldKind.te) at = this.field(output, at, i);
    }
    return at;
  }
}

class TrailerBlock extends LinesBlock {
  encode(output: Buffer, from: number): number {
    const lines = this.lines!;
    let at = this.encoder!.begin(output, from);
    for (let i = 0; i < lines.count; i++)
      if (lines.kind(i) !== FieldKind.connection) at = this.field(output, at, i);
    return at;
  }
}

function isExactly(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  if (end - start !== word.length) return false;
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word[i]) return false;
  return true;
}

/** Blocks are written at once, so one of each serves all. */
export const requestBlock = new RequestBlock();
export const responseBlock = new ResponseBlock();
export const trailerBlock = new TrailerBlock();
