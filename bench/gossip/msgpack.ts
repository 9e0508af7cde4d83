/** The part of MessagePack that serf's RPC speaks. Specification: github.com/msgpack/msgpack/blob/master/spec.md */

export type Packable =
  | string
  | number
  | boolean
  | Uint8Array
  | readonly Packable[]
  | { readonly [key: string]: Packable };

export type Unpacked = string | number | boolean | null | Unpacked[] | { [key: string]: Unpacked };

/** Strings and bytes of up to 65,535 bytes, whole numbers of up to 32 bits, lists and maps of up to 15 items. */
export function pack(value: Packable): Buffer {
  if (typeof value === 'boolean') return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === 'number') return packNumber(value);
  if (typeof value === 'string') return packRaw(Buffer.from(value));
  if (value instanceof Uint8Array) return packRaw(value);
  if (Array.isArray(value)) return packItems(0x90, value.length, value.map(pack));
  const entries = Object.entries(value);
  return packItems(
    0x80,
    entries.length,
    entries.map(([key, item]) => Buffer.concat([pack(key), pack(item)])),
  );
}

function packNumber(value: number): Buffer {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new RangeError(`${value} is not a whole number of up to 32 bits`);
  if (value < 0x80) return Buffer.of(value);
  const bytes = Buffer.alloc(5);
  bytes[0] = 0xce;
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

function packRaw(bytes: Uint8Array): Buffer {
  if (bytes.length > 0xffff) throw new RangeError(`${bytes.length} bytes are too long for a string`);
  if (bytes.length < 32) return Buffer.concat([Buffer.of(0xa0 | bytes.length), bytes]);
  const head = Buffer.of(0xda, bytes.length >> 8, bytes.length & 0xff);
  return Buffer.concat([head, bytes]);
}

function packItems(tag: number, count: number, items: readonly Buffer[]): Buffer {
  if (count > 15) throw new RangeError(`${count} items are too many`);
  return Buffer.concat([Buffer.of(tag | count), ...items]);
}

/** Takes values off a stream that arrives in pieces. */
export class Unpacker {
  private bytes: Buffer = Buffer.alloc(0);

  add(piece: Buffer): void {
    this.bytes = Buffer.concat([this.bytes, piece]);
  }

  /** The next whole value; undefined until it has arrived. Throws for what serf does not send. */
  next(): Unpacked | undefined {
    const reader = new Reader(this.bytes);
    const value = reader.value();
    if (reader.isShort) return undefined;
    this.bytes = this.bytes.subarray(reader.at);
    return value;
  }
}

/** Reads zeros beyond the end and remembers that it did. */
class Reader {
  at = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get isShort(): boolean {
    return this.at > this.bytes.length;
  }

  value(): Unpacked {
    const tag = this.unsigned(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 0x0f);
    if (tag < 0xa0) return this.list(tag & 0x0f);
    if (tag < 0xc0) return this.text(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    return this.tagged(tag);
  }

  private tagged(tag: number): Unpacked {
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xcc:
        return this.unsigned(1);
      case 0xcd:
        return this.unsigned(2);
      case 0xce:
        return this.unsigned(4);
      case 0xcf:
        return this.unsigned(4) * 2 ** 32 + this.unsigned(4);
      case 0xc4:
      case 0xd9:
        return this.text(this.unsigned(1));
      case 0xc5:
      case 0xda:
        return this.text(this.unsigned(2));
      case 0xdc:
        return this.list(this.unsigned(2));
      case 0xde:
        return this.map(this.unsigned(2));
      default:
        throw new Error(`MessagePack of type 0x${tag.toString(16)}, which serf is not known to send`);
    }
  }

  private unsigned(length: number): number {
    const from = this.at;
    this.at += length;
    return this.isShort ? 0 : this.bytes.readUIntBE(from, length);
  }

  private text(length: number): string {
    const from = this.at;
    this.at += length;
    return this.isShort ? '' : this.bytes.toString('utf8', from, this.at);
  }

  private list(length: number): Unpacked[] {
    const items: Unpacked[] = [];
    for (let index = 0; index < length && !this.isShort; index++) items.push(this.value());
    return items;
  }

  private map(length: number): { [key: string]: Unpacked } {
    const items: { [key: string]: Unpacked } = {};
    for (let index = 0; index < length && !this.isShort; index++) {
      const key = this.value();
      items[String(key)] = this.value();
    }
    return items;
  }
}
