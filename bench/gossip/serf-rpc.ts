/** Tells a running serf agent what to do (serf's RPC protocol, version 1: MessagePack over TCP). */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type Packable, pack, Unpacker } from './msgpack.ts';

interface Waiting {
  done(): void;
  fail(error: Error): void;
}

/** An answer is a head with the sequence number of its command; a body, which some have, is passed over. */
export class SerfRpc {
  private readonly socket: Socket;
  private readonly waiting = new Map<number, Waiting>();
  private readonly unpacker = new Unpacker();
  private sequence = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (piece) => this.receive(piece));
    socket.on('error', (error) => this.failAll(error));
    socket.on('close', () => this.failAll(new Error('serf closed the RPC connection')));
  }

  static async connect(address: string, port: number): Promise<SerfRpc> {
    const socket = connect({ host: address, port, noDelay: true });
    await once(socket, 'connect');
    const rpc = new SerfRpc(socket);
    await rpc.call('handshake', { Version: 1 });
    return rpc;
  }

  /** Resolves when serf has carried it out; rejects with serf's reason. */
  call(command: string, body: Packable): Promise<void> {
    const sequence = this.sequence++;
    return new Promise((done, fail) => {
      this.waiting.set(sequence, { done, fail });
      this.socket.write(Buffer.concat([pack({ Command: command, Seq: sequence }), pack(body)]));
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(piece: Buffer): void {
    this.unpacker.add(piece);
    for (let answer = this.unpacker.next(); answer !== undefined; answer = this.unpacker.next()) {
      const { Seq, Error: problem } = Object(answer) as { Seq?: unknown; Error?: unknown };
      const waiting = this.waiting.get(Number(Seq));
      this.waiting.delete(Number(Seq));
      if (typeof problem === 'string' && problem !== '') waiting?.fail(new Error(`serf: ${problem}`));
      else waiting?.done();
    }
  }

  private failAll(error: Error): void {
    for (const { fail } of this.waiting.values()) fail(error);
    this.waiting.clear();
  }
}
