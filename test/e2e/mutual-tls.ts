/** An application that speaks mutual TLS itself, with its service's certificate: Node's own TLS, nothing of ours. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { Bird } from '../../demo/flock.ts';

interface Roots {
  readonly TrustDomain: string;
  readonly Roots: readonly { readonly RootCert: string }[];
}

/** What answered, and by which of its names the server was proven. */
export interface MutualAnswer {
  readonly status: number;
  readonly body: string;
  readonly serverNames: string;
}

export function serverNameOf(service: string, trustDomain: string): string {
  return `${service}.default.dc1.internal.${trustDomain}`;
}

/** One GET to `service` on `target` as `caller` of `source`, over a new connection. Rejects when anything fails. */
export async function callMutually(
  source: Bird,
  caller: string,
  target: Bird,
  service: string,
): Promise<MutualAnswer> {
  const roots = await source.get<Roots>('/v1/connect/ca/roots');
  const pem = readFileSync(join(source.dataDir, 'identities', `${caller}.identity.pem`), 'utf8');
  return new Promise((done, fail) => {
    let received = '';
    let serverNames = '';
    const socket = connect({
      host: target.address,
      port: target.inboundPort,
      servername: serverNameOf(service, roots.TrustDomain),
      ca: roots.Roots.map(({ RootCert }) => RootCert),
      cert: pem,
      key: pem,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
    });
    socket.setTimeout(15_000, () => socket.destroy(new Error('no answer within 15 s')));
    socket.once('secureConnect', () => {
      serverNames = socket.getPeerCertificate().subjectaltname ?? '';
      socket.write(`GET / HTTP/1.1\r\nHost: ${service}.mesh\r\nConnection: close\r\n\r\n`);
    });
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
    });
    socket.once('error', fail);
    socket.once('close', () => {
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(received)?.[1] ?? 0);
      if (status === 0) fail(new Error(`no HTTP answer: ${JSON.stringify(received.slice(0, 100))}`));
      else done({ status, serverNames, body: received.slice(received.indexOf('\r\n\r\n') + 4) });
    });
  });
}

/** One such call after another, to each target in turn, until stopped. */
export class MutualLoad {
  private running = true;
  private sent = 0;
  private readonly failures: string[] = [];
  private readonly lane: Promise<void>;

  constructor(
    source: Bird,
    caller: string,
    service: string,
    targets: () => readonly Bird[],
    pauseMs: number,
  ) {
    const call = async (): Promise<void> => {
      const all = targets();
      const target = all[this.sent++ % all.length]!;
      try {
        const { status, body } = await callMutually(source, caller, target, service);
        if (status !== 200) this.failures.push(`${target.name}: ${status} ${body}`);
      } catch (error) {
        this.failures.push(`${target.name}: ${(error as Error).message}`);
      }
    };
    const run = async (): Promise<void> => {
      while (this.running) {
        await call();
        await new Promise((done) => setTimeout(done, pauseMs));
      }
    };
    this.lane = run();
  }

  async stop(): Promise<{ readonly sent: number; readonly failures: readonly string[] }> {
    this.running = false;
    await this.lane;
    return { sent: this.sent, failures: this.failures };
  }
}
