/** Talks to a DNS server with bytes: one datagram or one TCP exchange, decoded by an independent library. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import {
  type DecodedPacket,
  decode,
  encode,
  type Packet,
  RECURSION_DESIRED,
  type RecordType,
} from 'dns-packet';

export interface DnsAddress {
  readonly address: string;
  readonly port: number;
}

/** A question as bytes; `ednsSize` adds an OPT record. */
export function questionBytes(name: string, type: RecordType, ednsSize?: number): Buffer {
  const packet: Packet = {
    type: 'query',
    id: 4711,
    flags: RECURSION_DESIRED,
    questions: [{ name, type }],
    additionals:
      ednsSize === undefined
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: ednsSize,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  };
  return encode(packet);
}

/** The raw answer to a datagram. */
export async function udpExchange(server: DnsAddress, message: Uint8Array): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    socket.send(message, server.port, server.address);
    const [answer] = (await once(socket, 'message')) as [Buffer];
    return answer;
  } finally {
    socket.close();
  }
}

export async function ask(
  server: DnsAddress,
  name: string,
  type: RecordType,
  ednsSize?: number,
): Promise<DecodedPacket> {
  return decode(await udpExchange(server, questionBytes(name, type, ednsSize)));
}

/** The same by TCP. */
export async function askByTcp(server: DnsAddress, name: string, type: RecordType): Promise<DecodedPacket> {
  const socket = connect(server.port, server.address);
  const message = questionBytes(name, type);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  socket.write(Buffer.concat([length, message]));
  let received: Buffer = Buffer.alloc(0);
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer]);
    if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break;
  }
  socket.destroy();
  return decode(received.subarray(2));
}
