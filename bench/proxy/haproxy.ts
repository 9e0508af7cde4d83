/**
 * The peer to compare with: one HAProxy beside the client, one beside the service, HTTP/2 over mutual TLS 1.3
 * between them. It is set to do what Starling's proxies do between hosts, and as fast as it can.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import type { Subject } from './subject.ts';

export interface HaproxyWay {
  /** Where the client connects, where the two proxies meet, and the application: each `address:port`. */
  readonly client: string;
  readonly inbound: string;
  readonly backend: string;
}

/** The name in the certificates, which both sides check as Starling's check the SPIFFE IDs. */
const serverName = 'bench.internal';

export async function startHaproxy(stage: Stage, way: HaproxyWay): Promise<Subject> {
  const folder = join(stage.directory, 'haproxy');
  mkdirSync(folder, { mode: 0o700 });
  await makeCertificates(stage, folder);
  const inbound = launch(stage, folder, 'inbound', way.inbound, inboundConfig(folder, way));
  const outbound = launch(stage, folder, 'outbound', way.client, outboundConfig(folder, way));
  await answering(stage, way.client, outbound);
  assertOwned(way.inbound, [inbound.pid]);
  return { name: 'haproxy-h2', endpoint: way.client, proxies: [outbound, inbound] };
}

function launch(stage: Stage, folder: string, name: string, endpoint: string, config: string): Program {
  const file = join(folder, `${name}.cfg`);
  writeFileSync(file, config);
  assertFree(endpoint);
  return stage.start('haproxy', ['-db', '-f', file]);
}

/** A P-256 authority and one certificate for each side, as `openssl` makes them. */
async function makeCertificates(stage: Stage, folder: string): Promise<void> {
  const file = (name: string): string => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const request = (name: string, ...rest: string[]): Promise<string> =>
    stage.run('openssl', [
      ...['req', '-x509', ...newKey, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)],
      ...rest,
    ]);
  await request('ca', '-subj', '/CN=bench authority');
  for (const side of ['inbound', 'outbound']) {
    const name = side === 'inbound' ? serverName : 'client.internal';
    await request(
      side,
      ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`],
      ...['-addext', 'basicConstraints=critical,CA:FALSE'],
      ...['-CA', file('ca.crt'), '-CAkey', file('ca.key')],
    );
    const pem = readFileSync(file(`${side}.crt`), 'utf8') + readFileSync(file(`${side}.key`), 'utf8');
    writeFileSync(file(`${side}.pem`), pem, { mode: 0o600 });
  }
}

const common = `global
  nbthread 1
  maxconn 4096
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
`;

function tls(folder: string, side: string): string {
  const files = `crt ${folder}/${side}.pem ca-file ${folder}/ca.crt verify required`;
  return `ssl ${files} alpn h2 ssl-min-ver TLSv1.3`;
}

function inboundConfig(folder: string, way: HaproxyWay): string {
  return `${common}
frontend inbound
  bind ${way.inbound} ${tls(folder, 'inbound')}
  default_backend application
backend application
  server application ${way.backend}
`;
}

function outboundConfig(folder: string, way: HaproxyWay): string {
  const name = `sni str(${serverName}) verifyhost ${serverName}`;
  return `${common}
frontend outbound
  bind ${way.client}
  default_backend mesh
backend mesh
  server inbound ${way.inbound} ${tls(folder, 'outbound')} ${name}
`;
}
