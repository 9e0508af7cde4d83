/** Opens plaintext connections to one instance of an application on this host. */
import type { EngineContext } from '../engine.ts';
import { nobody, type Transport } from '../transport.ts';
import type { CarriedProtocol, Dialer } from '../upstreams.ts';
import { SocketTransport } from './socket.ts';

/** An application on the same host answers at once or not at all. */
const defaultConnectTimeoutMs = 1000;

export class AppDialer implements Dialer {
  private readonly address: string;
  private readonly port: number;
  private readonly context: EngineContext;
  /** 0 is the default. */
  connectTimeoutMs = 0;

  constructor(address: string, port: number, context: EngineContext) {
    this.address = address;
    this.port = port;
    this.context = context;
  }

  dial(_protocol: CarriedProtocol): Transport {
    return this.connect(() => {});
  }

  open(_protocol: CarriedProtocol, done: (transport: Transport | null) => void): void {
    const transport = this.connect(done);
    transport.owner = { ...nobody, onClose: () => done(null) };
  }

  private connect(onConnect: (transport: Transport) => void): Transport {
    const timeoutMs = this.connectTimeoutMs || defaultConnectTimeoutMs;
    return SocketTransport.connect(this.address, this.port, timeoutMs, this.context, onConnect);
  }
}
