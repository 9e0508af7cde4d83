/**
 * DNS messages as bytes (RFC 1035, EDNS of RFC 6891): reads one question from bytes nobody vouches for, and
 * writes an answer that fits, with compressed names and the question repeated byte by byte.
 */
import { type DnsAnswer, type DnsQuestion, type DnsRecord, hexOfAddress } from './dns.ts';

export interface DnsQuery {
  readonly id: number;
  readonly recursionDesired: boolean;
  readonly question: DnsQuestion;
  /** The question section as it came: name, type, class. */
  readonly questionBytes: Uint8Array;
  /** What the asker can take in one datagram; null without EDNS. */
  readonly ednsSize: number | null;
}

/** A message that is not a question we can answer: `reply` says so, or is null where silence is due. */
export interface DnsRefusal {
  readonly reply: Uint8Array | null;
}

/** Largest answer in a datagram, whatever the asker offers; more goes by TCP. */
export const maxDatagramBytes = 4096;
const leastDatagramBytes = 512;
const headerBytes = 12;
const optBytes = 11;

const typeNames: { readonly [code: number]: string } = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  255: 'ANY',
};
const typeCodes = { A: 1, NS: 2, SOA: 6, AAAA: 28, SRV: 33 } as const;
const optType = 41;
const rcodes = { NOERROR: 0, NXDOMAIN: 3, REFUSED: 5 } as const;
const formatError = 1;
const notImplemented = 4;
/** BADVERS is 16: its low four bits are 0, the rest is in the OPT record. */
const badVersionHigh = 1;

/** Reads a message. Never throws: what cannot be read comes back as the refusal to send, or not to send. */
export function parseQuery(bytes: Uint8Array): DnsQuery | DnsRefusal {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Answers are dropped, or two servers could talk to one another for ever.
  if (view.length < headerBytes || (view[2]! & 0x80) !== 0) return { reply: null };
  if ((view[2]! & 0x78) !== 0) return { reply: bareReply(view, notImplemented) };
  if (view.readUInt16BE(4) !== 1) return { reply: bareReply(view, formatError) };
  const name = readQuestionName(view);
  if (name === null || name.end + 4 > view.length) return { reply: bareReply(view, formatError) };
  const end = name.end + 4;
  const edns = readEdns(view, end);
  if (edns === 'malformed') return { reply: bareReply(view, formatError) };
  const questionBytes = Uint8Array.prototype.slice.call(view, headerBytes, end);
  const query: DnsQuery = {
    id: view.readUInt16BE(0),
    recursionDesired: (view[2]! & 1) !== 0,
    question: {
      name: name.text,
      type: typeNames[view.readUInt16BE(name.end)] ?? `TYPE${view.readUInt16BE(name.end)}`,
      class: className(view.readUInt16BE(name.end + 2)),
    },
    questionBytes,
    ednsSize: edns?.size ?? null,
  };
  if (edns !== null && edns.version !== 0) return { reply: badVersion(query) };
  return query;
}

function className(code: number): string {
  return code === 1 ? 'IN' : code === 255 ? 'ANY' : `CLASS${code}`;
}

/** The name in the question. Bytes that cannot be in a name of ours are shown escaped, so that none matches. */
function readQuestionName(view: Buffer): { text: string; end: number } | null {
  const labels: string[] = [];
  let at = headerBytes;
  for (;;) {
    const length = view[at];
    // A pointer (two high bits) has nothing before it to point to.
    if (length === undefined || length > 63) return null;
    at++;
    if (length === 0) break;
    if (at + length > view.length || at + length - headerBytes > 254) return null;
    const label = view.toString('latin1', at, at + length);
    labels.push(label.replace(/[^A-Za-z0-9_-]/g, (char) => `\\${char.charCodeAt(0)}`));
    at += length;
  }
  return { text: labels.join('.'), end: at };
}

/** Looks for the OPT record behind the question; null when there is none. */
function readEdns(view: Buffer, from: number): { size: number; version: number } | 'malformed' | null {
  const count = view.readUInt16BE(6) + view.readUInt16BE(8) + view.readUInt16BE(10);
  let at = from;
  let found: { size: number; version: number } | null = null;
  for (let i = 0; i < count; i++) {
    const nameEnd = skipName(view, at);
    if (nameEnd === null || nameEnd + 10 > view.length) return 'malformed';
    const end = nameEnd + 10 + view.readUInt16BE(nameEnd + 8);
    if (end > view.length) return 'malformed';
    if (view.readUInt16BE(nameEnd) === optType) {
      if (found !== null || nameEnd !== at + 1) return 'malformed';
      found = { size: view.readUInt16BE(nameEnd + 2), version: view[nameEnd + 5]! };
    }
    at = end;
  }
  return found;
}

function skipName(view: Buffer, from: number): number | null {
  let at = from;
  for (;;) {
    const length = view[at];
    if (length === undefined) return null;
    if (length >= 0xc0) return at + 2;
    if (length > 63) return null;
    at += 1 + length;
    if (length === 0) return at;
  }
}

/** A header alone, for messages whose question cannot be repeated. */
function bareReply(view: Buffer, rcode: number): Uint8Array {
  const reply = Buffer.alloc(headerBytes);
  view.copy(reply, 0, 0, 2);
  reply[2] = 0x80 | (view[2]! & 0x79);
  reply[3] = rcode;
  return reply;
}

function badVersion(query: DnsQuery): Uint8Array {
  const writer = new MessageWriter(query);
  writer.option(badVersionHigh);
  return writer.done(0, false);
}

/** Bytes a transport may carry back: by TCP what a length prefix can say, else what the asker offered. */
export function sizeLimit(query: DnsQuery, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return 65535;
  return Math.min(Math.max(query.ednsSize ?? leastDatagramBytes, leastDatagramBytes), maxDatagramBytes);
}

/**
 * Writes an answer of at most `limit` bytes. Answers that do not fit are left out and the message is marked
 * truncated; additional records that do not fit are left out silently (RFC 2181, section 9).
 */
export function encodeAnswer(query: DnsQuery, answer: DnsAnswer, limit: number): Uint8Array {
  const writer = new MessageWriter(query);
  const room = query.ednsSize === null ? limit : limit - optBytes;
  const fits = (record: DnsRecord, section: Section): boolean => writer.record(record, section, room);
  const complete =
    answer.answers.every((record) => fits(record, 'answer')) &&
    answer.authorities.every((record) => fits(record, 'authority'));
  if (complete) for (const record of answer.additionals) if (!fits(record, 'additional')) break;
  if (query.ednsSize !== null) writer.option(0);
  return writer.done(rcodes[answer.code], !complete, answer.authoritative);
}

type Section = 'answer' | 'authority' | 'additional';

class MessageWriter {
  private readonly query: DnsQuery;
  private bytes: Buffer = Buffer.alloc(1024);
  private length = headerBytes;
  /** Where a name or its tail was written before, lower case. */
  private readonly offsets = new Map<string, number>();
  private readonly counts = { answer: 0, authority: 0, additional: 0 };

  constructor(query: DnsQuery) {
    this.query = query;
    this.raw(query.questionBytes);
    this.rememberQuestion();
  }

  /** Every tail of the question's name can be pointed to. */
  private rememberQuestion(): void {
    const labels = this.query.question.name.split('.');
    let offset = headerBytes;
    for (let i = 0; i < labels.length && labels[0] !== ''; i++) {
      this.offsets.set(labels.slice(i).join('.').toLowerCase(), offset);
      offset += 1 + this.query.questionBytes[offset - headerBytes]!;
    }
  }

  private room(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const larger = Buffer.alloc(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  private raw(data: Uint8Array): void {
    this.room(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  private u16(value: number): void {
    this.room(2);
    this.length = this.bytes.writeUInt16BE(value, this.length);
  }

  private u32(value: number): void {
    this.room(4);
    this.length = this.bytes.writeUInt32BE(value, this.length);
  }

  private name(name: string): void {
    const labels = name === '' ? [] : name.split('.');
    for (let i = 0; i < labels.length; i++) {
      const tail = labels.slice(i).join('.').toLowerCase();
      const known = this.offsets.get(tail);
      if (known !== undefined) {
        this.u16(0xc000 | known);
        return;
      }
      if (this.length < 0x4000) this.offsets.set(tail, this.length);
      const label = Buffer.from(labels[i]!, 'latin1');
      this.raw(Buffer.from([label.length]));
      this.raw(label);
    }
    this.raw(Buffer.from([0]));
  }

  /** Adds a record, or leaves everything as it was and answers false when it would pass `limit`. */
  record(record: DnsRecord, section: Section, limit: number): boolean {
    const start = this.length;
    this.name(record.name);
    this.u16(typeCodes[record.type]);
    this.u16(1);
    this.u32(record.ttl);
    const lengthAt = this.length;
    this.u16(0);
    this.data(record);
    if (this.length > limit) {
      this.length = start;
      for (const [tail, offset] of this.offsets) if (offset >= start) this.offsets.delete(tail);
      return false;
    }
    this.bytes.writeUInt16BE(this.length - lengthAt - 2, lengthAt);
    this.counts[section]++;
    return true;
  }

  private data(record: DnsRecord): void {
    if (record.type === 'A' || record.type === 'AAAA')
      this.raw(Buffer.from(hexOfAddress(record.data) ?? '', 'hex'));
    else if (record.type === 'NS') this.name(record.data);
    else if (record.type === 'SRV') {
      this.u16(record.data.priority);
      this.u16(record.data.weight);
      this.u16(record.data.port);
      // RFC 2782 asks that the target is not compressed; later names may still point into it.
      this.plainName(record.data.target);
    } else if (record.type === 'SOA') {
      this.name(record.data.mname);
      this.name(record.data.rname);
      for (const field of ['serial', 'refresh', 'retry', 'expire', 'minimum'] as const)
        this.u32(record.data[field]);
    }
  }

  private plainName(name: string): void {
    const labels = name.split('.');
    labels.forEach((label, i) => {
      const tail = labels.slice(i).join('.').toLowerCase();
      if (this.length < 0x4000 && !this.offsets.has(tail)) this.offsets.set(tail, this.length);
      this.raw(Buffer.from([label.length]));
      this.raw(Buffer.from(label, 'latin1'));
    });
    this.raw(Buffer.from([0]));
  }

  /** The OPT record: what we take in one datagram, and the upper bits of the response code. */
  option(extendedCode: number): void {
    this.raw(Buffer.from([0]));
    this.u16(optType);
    this.u16(maxDatagramBytes);
    this.raw(Buffer.from([extendedCode, 0, 0, 0]));
    this.u16(0);
    this.counts.additional++;
  }

  done(rcode: number, truncated: boolean, authoritative = false): Uint8Array {
    const { bytes } = this;
    bytes.writeUInt16BE(this.query.id, 0);
    bytes[2] =
      0x80 | (authoritative ? 0x04 : 0) | (truncated ? 0x02 : 0) | (this.query.recursionDesired ? 0x01 : 0);
    bytes[3] = rcode;
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt16BE(this.counts.answer, 6);
    bytes.writeUInt16BE(this.counts.authority, 8);
    bytes.writeUInt16BE(this.counts.additional, 10);
    return Uint8Array.prototype.slice.call(bytes, 0, this.length);
  }
}
