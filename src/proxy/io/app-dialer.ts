/** Opens plaintext connections to one instance of an application on this host, or streams of such. */
import type { EngineContext } from '../engine.ts';
import { ClientPool } from '../http2/client-pool.ts';
import { defaultLocalConnectTimeoutMs } from '../policy-defaults.ts';
import { nobody, type Transport } from '../transport.ts';
import type { CarriedProtocol, Dialer } from '../upstream/upstreams.ts';
import { SocketTransport } from './socket.ts';

export class AppDialer implements Dialer {
  private readonly address: string;
  private readonly port: number;
  private readonly context: EngineContext;
  private readonly onProblem: (problem: string) => void;
  /** 0 is the default. */
  connectTimeoutMs = 0;
  /** Made for the first request that goes by HTTP/2. */
  private http2: ClientPool | null = null;

  /** `onProblem` is told of an application that is to speak HTTP/2 and does not, or not well. */
  constructor(address: string, port: number, context: EngineContext, onProblem: (problem: string) => void) {
    this.onProblem = onProblem;
    this.address = address;
    this.port = port;
    this.context = context;
  }

  dial(protocol: CarriedProtocol): Transport {
    if (protocol !== 'http2') return this.connect(() => {});
    this.http2 ??= new ClientPool(() => this.connect(() => {}), this.context, this.onProblem);
    return this.http2.dial(protocol);
  }

  release(): void {
    this.http2?.release();
  }

  open(_protocol: CarriedProtocol, done: (transport: Transport | null) => void): void {
    const transport = this.connect(done);
    transport.owner = { ...nobody, onClose: () => done(null) };
  }

  private connect(onConnect: (transport: Transport) => void): Transport {
    const timeoutMs = this.connectTimeoutMs || defaultLocalConnectTimeoutMs;
    return SocketTransport.connect(this.address, this.port, timeoutMs, this.context, onConnect);
  }
}
