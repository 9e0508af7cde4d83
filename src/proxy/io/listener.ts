/** Binds one server to one address and keeps its status: a failed bind is reported, never thrown. */
import type { Server } from 'node:net';
import type { ListenerStatus } from '../dataplane.ts';
import type { Log } from './options.ts';

/** Connections one listener holds at once; further ones are dropped at accept. */
const maxConnections = 20_000;
const backlog = 1024;

export interface Bind {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  /** With other threads of this process. */
  readonly isShared: boolean;
}

/** Logs how a bind went, where that is news: every configuration tries anew what failed under the last one. */
export function logBind(log: Log, before: BoundServer | null, after: BoundServer): void {
  const { error } = after.status;
  const isSame = before?.address === after.address && before.port === after.port;
  const errorBefore = isSame ? before.status.error : null;
  if (error === errorBefore) return;
  if (error === null) log('info', 'listener-recovered', { ...after.status });
  else log('error', 'listener-failed', { ...after.status });
}

export class BoundServer {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  private readonly server: Server;
  private error: string | null = null;

  private constructor(id: string, address: string, port: number, server: Server) {
    this.id = id;
    this.address = address;
    this.port = port;
    this.server = server;
  }

  /** Resolves once it accepts or has failed; `status` says which. */
  static async bind(
    { id, address, port, isShared }: Bind,
    server: Server,
    onProblem: (code: string) => void,
  ): Promise<BoundServer> {
    const bound = new BoundServer(id, address, port, server);
    server.maxConnections = maxConnections;
    await new Promise<void>((resolve) => {
      server.once('listening', resolve);
      server.on('error', (error: NodeJS.ErrnoException) => {
        const code = error.code ?? error.message;
        // Once it listens, an error is one connection that could not be accepted.
        if (server.listening) onProblem(code);
        else bound.error = code;
        resolve();
      });
      server.listen({ host: address, port, backlog, reusePort: isShared });
    });
    return bound;
  }

  get accepts(): boolean {
    return this.error === null;
  }

  /** With the port that the system chose, where the configuration said 0. */
  get status(): ListenerStatus {
    const at = this.server.address();
    const port = at !== null && typeof at === 'object' ? at.port : this.port;
    return { id: this.id, address: this.address, port, error: this.error };
  }

  serves(address: string, port: number): boolean {
    return this.accepts && this.address === address && this.port === port;
  }

  /** Stops accepting; connections stay. */
  close(): void {
    if (this.server.listening) this.server.close();
  }
}
