/**
 * The peer to compare with: one HAProxy beside the client, one beside the application, mutual TLS 1.3 between
 * them. It is set to do what Starling's proxies do between hosts, and as fast as it can.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import { type Certificates, cipherSuite, serverName } from './certificates.ts';
import type { Subject, Way } from './subject.ts';

/** `h2` carries everything; `http/1.1` HTTP alone, as many set it up. */
export type HaproxyProtocol = 'h2' | 'http/1.1';

export async function startHaproxy(
  stage: Stage,
  certificates: Certificates,
  way: Way,
  protocol: HaproxyProtocol,
): Promise<Subject> {
  const name = protocol === 'h2' ? 'haproxy-h2' : 'haproxy-h1';
  const folder = join(stage.directory, name);
  mkdirSync(folder, { mode: 0o700 });
  const carriesAll = protocol === 'h2';
  for (const endpoint of [way.inbound.http, way.client.http]) assertFree(endpoint);
  const inbound = launch(stage, folder, 'inbound', [
    common,
    ...inboundHttp(certificates, way, protocol),
    ...(carriesAll ? inboundOthers(certificates, way) : []),
  ]);
  const outbound = launch(stage, folder, 'outbound', [
    common,
    ...outboundHttp(certificates, way, protocol),
    ...(carriesAll ? outboundOthers(certificates, way) : []),
  ]);
  await answering(stage, way.client.http, outbound);
  assertOwned(way.inbound.http, [inbound.pid]);
  const endpoints = carriesAll ? way.client : { http: way.client.http };
  return { name, endpoints, proxies: [outbound, inbound] };
}

function launch(stage: Stage, folder: string, name: string, lines: readonly string[]): Program {
  const file = join(folder, `${name}.cfg`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return stage.start('haproxy', ['-db', '-f', file]);
}

const common = `global
  nbthread 1
  maxconn 4096
  ssl-default-bind-ciphersuites ${cipherSuite}
  ssl-default-server-ciphersuites ${cipherSuite}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always`;

function tlsOf(certificates: Certificates, side: 'inbound' | 'outbound', protocol: string | null): string {
  const files = `crt ${certificates[side].both} ca-file ${certificates.authority} verify required`;
  return `ssl ${files} ${protocol === null ? '' : `alpn ${protocol} `}ssl-min-ver TLSv1.3`;
}

function named(tls: string): string {
  return `${tls} sni str(${serverName}) verifyhost ${serverName}`;
}

/** A frontend with the one server behind it; `mode` is `http` unless told. */
function pass(name: string, bind: string, server: string, mode = 'http'): string[] {
  return [
    ...[`frontend ${name}`, `  mode ${mode}`, `  bind ${bind}`, `  default_backend ${name}`],
    ...[`backend ${name}`, `  mode ${mode}`, `  server ${name} ${server}`],
  ];
}

function inboundHttp(certificates: Certificates, way: Way, protocol: HaproxyProtocol): string[] {
  const tls = tlsOf(certificates, 'inbound', protocol);
  return pass('plain', `${way.inbound.http} ${tls}`, way.application.http);
}

function outboundHttp(certificates: Certificates, way: Way, protocol: HaproxyProtocol): string[] {
  const tls = tlsOf(certificates, 'outbound', protocol);
  return pass('plain', way.client.http, `${way.inbound.http} ${named(tls)}`);
}

function inboundOthers(certificates: Certificates, way: Way): string[] {
  const { inbound, application } = way;
  const h2 = tlsOf(certificates, 'inbound', 'h2');
  return [
    ...pass('calls', `${inbound.grpc} ${h2}`, `${application.grpc} proto h2`),
    ...pass('bytes', `${inbound.tcp} ${tlsOf(certificates, 'inbound', null)}`, application.tcp, 'tcp'),
  ];
}

function outboundOthers(certificates: Certificates, way: Way): string[] {
  const { client, inbound } = way;
  const h2 = tlsOf(certificates, 'outbound', 'h2');
  const tls = tlsOf(certificates, 'outbound', null);
  return [
    ...pass('calls', `${client.grpc} proto h2`, `${inbound.grpc} ${named(h2)}`),
    ...pass('bytes', client.tcp, `${inbound.tcp} ${named(tls)}`, 'tcp'),
  ];
}
