/**
 * Datagrams that only one member can have written and only one can read. Keys come from the two host keys
 * (static Diffie-Hellman, as in Noise's KK without its handshake: a probe has no round trip to spare), one for
 * each direction; a nonce never repeats, since it holds the sender's epoch, which its disk counts. There is no
 * forward secrecy: what travels so is who is alive, which every member knows.
 *
 * Layout: version (1 byte, 2), sender (the first 8 bytes of its host id), epoch (4 bytes), counter (8 bytes),
 * then ciphertext and tag of ChaCha20-Poly1305 (RFC 8439), with all before as associated data. Pure.
 */
import { createCipheriv, createDecipheriv, hkdfSync, type KeyObject } from 'node:crypto';
import { assert, Fault, type HostId } from '../core.ts';
import { ReplayWindow } from './replay-window.ts';
import { agree, agreementKey } from './x25519.ts';

export const sealedVersion = 2;
const cipher = 'chacha20-poly1305';
const senderBytes = 8;
const nonceBytes = 12;
const headerBytes = 1 + senderBytes + nonceBytes;
const tagBytes = 16;
/** What sealing adds to a frame. */
export const sealedOverheadBytes: number = headerBytes + tagBytes;
const label = 'starling datagram 1';
const keyBytes = 32;

interface Peer {
  readonly id: HostId;
  readonly window: ReplayWindow;
  /** Made when first needed: agreeing costs more than a datagram. */
  keys: { readonly send: Uint8Array; readonly receive: Uint8Array } | null;
  sent: number;
}

export interface SealingOptions {
  readonly self: HostId;
  /** The 32-byte Ed25519 seed of the host key. */
  readonly seed: Uint8Array;
  /** Distinguishes this mesh from every other: the hash of its genesis. */
  readonly mesh: Uint8Array;
  /** How many times this agent has started; must never repeat. */
  readonly epoch: number;
}

/** Why a datagram was not opened, for counting. */
export type SealProblem = 'malformed' | 'stranger' | 'forged' | 'replayed';

export class Sealing {
  private readonly options: SealingOptions;
  private readonly key: KeyObject;
  private readonly peers = new Map<HostId, Peer>();
  private readonly bySender = new Map<string, Peer>();

  constructor(options: SealingOptions) {
    assert(options.epoch >= 0 && options.epoch < 2 ** 32, 'the epoch fits the nonce');
    this.options = options;
    this.key = agreementKey(options.seed);
  }

  /** From now on datagrams of this member are opened. */
  admit(id: HostId): void {
    if (this.peers.has(id)) return;
    const peer: Peer = { id, window: new ReplayWindow(), keys: null, sent: 0 };
    this.peers.set(id, peer);
    this.bySender.set(id.slice(0, 2 * senderBytes), peer);
  }

  /** A former member's counter is forgotten with it: admitted again it must not be sealed to in this epoch. */
  dismiss(id: HostId): void {
    const peer = this.peers.get(id);
    if (peer === undefined) return;
    const sender = id.slice(0, 2 * senderBytes);
    if (this.bySender.get(sender) === peer) this.bySender.delete(sender);
  }

  /** Null for who was never admitted, or has a key that none can agree with. */
  seal(to: HostId, frame: Uint8Array): Buffer | null {
    const peer = this.peers.get(to);
    const keys = peer === undefined ? null : this.keysOf(peer);
    if (peer === undefined || keys === null) return null;
    const header = this.header(peer.sent++);
    const nonce = header.subarray(1 + senderBytes);
    const sealing = createCipheriv(cipher, keys.send, nonce, { authTagLength: tagBytes });
    sealing.setAAD(header, { plaintextLength: frame.length });
    const body = sealing.update(frame);
    sealing.final();
    return Buffer.concat([header, body, sealing.getAuthTag()]);
  }

  private header(counter: number): Buffer {
    const header = Buffer.alloc(headerBytes);
    header[0] = sealedVersion;
    header.write(this.options.self.slice(0, 2 * senderBytes), 1, 'hex');
    header.writeUInt32BE(this.options.epoch, 1 + senderBytes);
    header.writeUIntBE(counter, headerBytes - 6, 6);
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
    const counter = header.readUIntBE(headerBytes - 6, 6);
    return peer.window.take(epoch, counter) ? { from: peer.id, frame } : 'replayed';
  }

  private keysOf(peer: Peer): NonNullable<Peer['keys']> | null {
    if (peer.keys !== null) return peer.keys;
    try {
      const secret = agree(this.key, peer.id);
      const { self } = this.options;
      peer.keys = { send: this.derive(secret, self, peer.id), receive: this.derive(secret, peer.id, self) };
      return peer.keys;
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
