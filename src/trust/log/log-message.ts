/** How a host reads a trustee's issuance log: a request and an answer a page, from the newest entry backwards. */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import { maxEntryBytes } from './issuance-log.ts';
import { decodeHead, encodeHead, maxHeadBytes, type SignedHead } from './transparency.ts';

export interface LogRequest {
  /** The reader's own, repeated in the answer. */
  readonly requestId: number;
  /** Entries before this number; 0 for the newest. */
  readonly before: number;
}

export type LogAnswer =
  | {
      readonly type: 'page';
      readonly requestId: number;
      readonly head: SignedHead;
      /** In order, encoded; none where the log holds none that were asked for. */
      readonly entries: readonly Uint8Array[];
    }
  | {
      readonly type: 'busy';
      readonly requestId: number;
      /** Not to be asked again before this long. */
      readonly retryAfterMs: number;
    };

/** Entries of one page: some 50 KB, so that other frames are not held up. */
export const maxPageEntries = 128;
export const maxLogRequestId = 0xffff_ffff;
const maxRetryAfterMs = 3_600_000;
/** The first byte of each frame. */
const requestForm = 1;
const pageForm = 2;
const busyForm = 3;

export function encodeLogRequest({ requestId, before }: LogRequest): Uint8Array {
  return new ByteWriter().u8(requestForm).varint(requestId).varint(before).done();
}

/** Throws `Fault('malformed')`. */
export function decodeLogRequest(bytes: Uint8Array): LogRequest {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== requestForm) throw new Fault('malformed', 'not a request for a log');
  const request = { requestId: reader.varint(maxLogRequestId), before: reader.varint() };
  reader.end();
  return request;
}

export function encodeLogAnswer(answer: LogAnswer): Uint8Array {
  const writer = new ByteWriter();
  if (answer.type === 'busy')
    return writer.u8(busyForm).varint(answer.requestId).varint(answer.retryAfterMs).done();
  writer.u8(pageForm).varint(answer.requestId).bytes(encodeHead(answer.head)).varint(answer.entries.length);
  for (const entry of answer.entries) writer.bytes(entry);
  return writer.done();
}

/** Throws `Fault('malformed')`. The head's signature and the entries are for the reader to check. */
export function decodeLogAnswer(bytes: Uint8Array): LogAnswer {
  const reader = new ByteReader(bytes);
  const form = reader.u8();
  const requestId = reader.varint(maxLogRequestId);
  let answer: LogAnswer;
  if (form === pageForm) {
    const head = decodeHead(reader.bytes(maxHeadBytes));
    const count = reader.varint(maxPageEntries);
    const entries = Array.from({ length: count }, () => Uint8Array.from(reader.bytes(maxEntryBytes)));
    answer = { type: 'page', requestId, head, entries };
  } else if (form === busyForm) {
    answer = { type: 'busy', requestId, retryAfterMs: reader.varint(maxRetryAfterMs) };
  } else throw new Fault('malformed', 'not an answer to a request for a log');
  reader.end();
  return answer;
}
