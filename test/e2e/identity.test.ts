/** The hop between hosts: TLS 1.3, both sides proven, and nothing for anybody else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { metric, registerApi, startService, tcpExchange } from './mesh.ts';

const request = 'GET / HTTP/1.1\r\nHost: api.mesh\r\nConnection: close\r\n\r\n';

let home: Flock;
let host: Bird;
let foreign: Flock;
let trustDomain: string;
before(async () => {
  home = new Flock();
  [host] = (await home.start([{ n: 21, name: 'home' }])) as [Bird];
  foreign = new Flock();
  await foreign.start([{ n: 22, name: 'away' }]);
  await startService(home, 'api', `${host.address}:9001`);
  await registerApi(home, host);
  trustDomain = (await host.get<{ TrustDomain: string }>('/v1/connect/ca/roots')).TrustDomain;
  await until('api has an identity', 20_000, async () => {
    const { identities } = await host.get<{ identities: { service: string; problem: string | null }[] }>(
      '/v1/mesh/ca',
    );
    return identities.some(({ service, problem }) => service === 'api' && problem === null);
  });
});
after(async () => {
  await home.stop();
  await foreign.stop();
});

const serverName = () => `api.default.dc1.internal.${trustDomain}`;

interface TlsOutcome {
  readonly received: string;
  readonly problem: string | null;
  readonly protocol: string | null;
}

function tlsExchange(options: {
  cert?: Buffer;
  key?: Buffer;
  maxVersion?: 'TLSv1.2' | 'TLSv1.3';
}): Promise<TlsOutcome> {
  return new Promise((done) => {
    let received = '';
    let problem: string | null = null;
    let protocol: string | null = null;
    const socket: TLSSocket = connect(
      {
        host: host.address,
        port: host.inboundPort,
        servername: serverName(),
        rejectUnauthorized: false,
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['http/1.1'],
        ...options,
      },
      () => {
        protocol = socket.getProtocol();
        socket.write(request);
      },
    );
    socket.setTimeout(15_000, () => socket.destroy(new Error('timeout')));
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
    });
    socket.on('error', (error) => {
      problem = error.message;
    });
    socket.on('close', () => done({ received, problem, protocol }));
  });
}

test('a plaintext client gets nothing', async () => {
  const { received } = await tcpExchange(host.address, host.inboundPort, request);
  assert.doesNotMatch(received, /HTTP/);
});

test('a client with no certificate gets nothing', async () => {
  const outcome = await tlsExchange({});
  assert.equal(outcome.received, '');
  assert.match(outcome.problem ?? '', /certificate required|alert|reset/i);
});

test('a client with a certificate of another mesh gets nothing', async () => {
  const directory = home.directory;
  const key = join(directory, 'foreign.key');
  const cert = join(directory, 'foreign.crt');
  const id = `URI:spiffe://${trustDomain}/ns/default/dc/dc1/svc/web`;
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
    ...['-keyout', key, '-out', cert, '-subj', '/CN=web', '-addext', `subjectAltName=${id}`],
  ]);
  const outcome = await tlsExchange({ key: readFileSync(key), cert: readFileSync(cert) });
  assert.equal(outcome.received, '');
  await until('the failed handshake is counted', 10_000, async () => {
    return (await metric(host, 'starling_handshake_failures_total', 'reason=')) > 0;
  });
});

test('a client that speaks no TLS 1.3 gets nothing', async () => {
  const outcome = await tlsExchange({ maxVersion: 'TLSv1.2' });
  assert.equal(outcome.received, '');
  assert.notEqual(outcome.problem, null);
});
