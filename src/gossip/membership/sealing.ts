/**
 * Datagrams that only one member can have written and only one can read. Keys come from the two host keys
 * (static Diffie-Hellman, as in Noise's KK without its handshake: a probe has no round trip to spare), one for
 * each direction; a nonce never repeats, since it holds the sender's epoch, which its disk counts, and a
 * counter that begins at the time of day, for disks that are set back. What is set back together with its memory
 * seals with nonces a second time until its clock leaps by seconds; if counters followed the clock with every
 * datagram, the window would take for a copy what others overtake by a millisecond. There is no forward secrecy: what
 * travels so is who is alive, which every member knows. A receiver that has just started, or was set back, cannot
 * tell a copy of a datagram of before from a late one; the frames inside carry incarnations, which make such
 * copies old news.
 *
 * Layout: version (1 byte, 2), sender (the first 8 bytes of its host id), epoch (4 bytes), counter (8 bytes),
 * then ciphertext and tag of ChaCha20-Poly1305 (RFC 8439), with all before as associated data. Pure.
 */
import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject } from 'node:crypto';
import { assert, Fault, type HostId, type Millis } from '../../core.ts';
import { RecentMap } from '../recent-map.ts';
import { ReplayWindow } from './replay-window.ts';
import { agree, agreementKey } from './x25519.ts';

export const sealedVersion = 2;
const cipher = 'chacha20-poly1305';
const senderBytes = 8;
const nonceBytes = 12;
/** Of the counter's 8 bytes those in use: more would be no safe integer. The first two are zero. */
const counterBytes = 6;
const headerBytes = 1 + senderBytes + nonceBytes;
const tagBytes = 16;
/** What sealing adds to a frame. */
export const sealedOverheadBytes: number = headerBytes + tagBytes;
/** What passes every path unfragmented: the least MTU of IPv6 without its and UDP's headers (RFC 8200, 5). */
export const maxDatagramBytes: number = 1280 - 40 - 8;
const label = 'starling datagram 1';
const keyBytes = 32;
/** Counters that each second since 1970 has room for: no run sends one peer so many, so no two runs overlap. */
const countersPerSecond = 2 ** 16;
/** Seconds are taken modulo this, so that the counter has as much room again above any start. */
const maxStartSeconds = 2 ** 31;
/**
 * When the time of day is this far past that of the datagram before, counters begin at it anew: the clock was
 * put right, or the host's memory was set back, and others have had counters far above its own. What is on its way
 * since then comes too late for any probe, so it may be taken for a copy.
 */
const leapMs = 5000;
/** Former members whose replay windows are kept for their return; beyond, the one who left first is forgotten. */
const maxFormer = 1024;

interface Keys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
}

interface Peer {
  readonly id: HostId;
  readonly window: ReplayWindow;
  /** Made when first needed, for agreeing costs more than a datagram; null when none can be had. */
  keys: Keys | null | undefined;
  nextCounter: number;
}

export interface SealingOptions {
  readonly self: HostId;
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  /** Distinguishes this mesh from every other: the hash of its genesis. */
  readonly mesh: Uint8Array;
  /** How many times this agent has started, as far as its disk knows. */
  readonly epoch: number;
}

/** Why a datagram was not opened, for counting. */
export type SealProblem = 'malformed' | 'stranger' | 'forged' | 'replayed';

export class Sealing {
  private readonly options: SealingOptions;
  private readonly key: KeyObject;
  private readonly peers = new Map<HostId, Peer>();
  /** Members by how their ids begin. */
  private readonly bySender = new Map<string, Peer>();
  private readonly former = new RecentMap<ReplayWindow>(maxFormer);
  /** Above every counter used with a former member, so that nothing else needs to be kept of them. */
  private firstCounter = 0;
  /** The time of day of the datagram before. */
  private sealedAt = Number.NEGATIVE_INFINITY;

  constructor(options: SealingOptions) {
    assert(options.epoch >= 0 && options.epoch < 2 ** 32, 'the epoch fits the nonce');
    this.options = options;
    this.key = agreementKey(options.seed);
  }

  /**
   * From now on datagrams of this member are opened, and sealed for it. Of two whose ids begin alike, which
   * takes some 2^64 attempts to bring about, only the first is heard by datagram.
   */
  admit(id: HostId): void {
    if (this.peers.has(id)) return;
    const window = this.former.get(id) ?? new ReplayWindow();
    this.former.delete(id);
    const peer: Peer = { id, window, keys: undefined, nextCounter: this.firstCounter };
    this.peers.set(id, peer);
    const sender = senderOf(id);
    if (!this.bySender.has(sender)) this.bySender.set(sender, peer);
  }

  /** From now on this host is a stranger. Admitted again, it is sealed to with counters never used before. */
  dismiss(id: HostId): void {
    const peer = this.peers.get(id);
    if (peer === undefined) return;
    this.peers.delete(id);
    this.former.set(id, peer.window);
    this.firstCounter = Math.max(this.firstCounter, peer.nextCounter);
    const sender = senderOf(id);
    if (this.bySender.get(sender) === peer) this.bySender.delete(sender);
  }

  /** `wallMs`: the time of day. Null for who is not admitted, or has a key that none can agree with. */
  seal(to: HostId, frame: Uint8Array, wallMs: Millis): Buffer | null {
    const peer = this.peers.get(to);
    const keys = peer === undefined ? null : this.keysOf(peer);
    if (peer === undefined || keys === null) return null;
    const header = this.header(this.counterFor(peer, wallMs));
    const nonce = header.subarray(1 + senderBytes);
    const sealing = createCipheriv(cipher, keys.send, nonce, { authTagLength: tagBytes });
    sealing.setAAD(header, { plaintextLength: frame.length });
    const body = sealing.update(frame);
    sealing.final();
    return Buffer.concat([header, body, sealing.getAuthTag()]);
  }

  private counterFor(peer: Peer, wallMs: Millis): number {
    if (wallMs - this.sealedAt > leapMs) this.firstCounter = Math.max(this.firstCounter, counterAt(wallMs));
    this.sealedAt = wallMs;
    const counter = Math.max(peer.nextCounter, this.firstCounter);
    peer.nextCounter = counter + 1;
    return counter;
  }

  private header(counter: number): Buffer {
    const header = Buffer.alloc(headerBytes);
    header[0] = sealedVersion;
    header.write(senderOf(this.options.self), 1, 'hex');
    header.writeUInt32BE(this.options.epoch, 1 + senderBytes);
    header.writeUIntBE(counter, headerBytes - counterBytes, counterBytes);
    return header;
  }

  /** Who wrote a datagram, and what; or why it is not to be believed. */
  open(datagram: Uint8Array): { readonly from: HostId; readonly frame: Uint8Array } | SealProblem {
    if (datagram.length <= sealedOverheadBytes || datagram[0] !== sealedVersion) return 'malformed';
    const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
    const peer = this.bySender.get(bytes.toString('hex', 1, 1 + senderBytes));
    const keys = peer === undefined ? null : this.keysOf(peer);
    if (peer === undefined || keys === null) return 'stranger';
    const header = bytes.subarray(0, headerBytes);
    const body = bytes.subarray(headerBytes, bytes.length - tagBytes);
    const opening = createDecipheriv(cipher, keys.receive, header.subarray(1 + senderBytes), {
      authTagLength: tagBytes,
    });
    opening.setAAD(header, { plaintextLength: body.length });
    opening.setAuthTag(bytes.subarray(bytes.length - tagBytes));
    let frame: Uint8Array;
    try {
      frame = opening.update(body);
      opening.final();
    } catch {
      return 'forged';
    }
    // Only an authentic datagram may move the window.
    const epoch = header.readUInt32BE(1 + senderBytes);
    const counter = header.readUIntBE(headerBytes - counterBytes, counterBytes);
    return peer.window.take(epoch, counter) ? { from: peer.id, frame } : 'replayed';
  }

  /** Tried once: whoever has no usable key must not cost an attempt with every datagram in its name. */
  private keysOf(peer: Peer): Keys | null {
    if (peer.keys === undefined) peer.keys = this.agreeOn(peer.id);
    return peer.keys;
  }

  private agreeOn(id: HostId): Keys | null {
    try {
      const secret = agree(this.key, id);
      const { self } = this.options;
      return { send: this.derive(secret, self, id), receive: this.derive(secret, id, self) };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return null;
    }
  }

  private derive(secret: Uint8Array, from: HostId, to: HostId): Uint8Array {
    const info = Buffer.concat([Buffer.from(label), Buffer.from(from, 'hex'), Buffer.from(to, 'hex')]);
    return new Uint8Array(hkdfSync('sha256', secret, this.options.mesh, info, keyBytes));
  }
}

/** Where the counters of a run begin. */
function counterAt(wallMs: Millis): number {
  const seconds = (Math.max(0, wallMs) / 1000) % maxStartSeconds;
  return Math.floor(seconds * countersPerSecond);
}

/** What a datagram says of who sent it, in hex. */
function senderOf(id: HostId): string {
  return id.slice(0, 2 * senderBytes);
}
