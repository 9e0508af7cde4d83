/** The peer that many know best: one nginx beside the client, one beside the application, mutual TLS between them. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import { type Certificates, cipherSuite, serverName } from './certificates.ts';
import { head, httpOf, streamModule } from './nginx-config.ts';
import type { Subject, Way } from './subject.ts';

export async function startNginx(stage: Stage, certificates: Certificates, way: Way): Promise<Subject> {
  const hasStreams = existsSync(streamModule);
  for (const endpoint of [way.inbound.http, way.client.http]) assertFree(endpoint);
  const inbound = launch(stage, 'nginx-inbound', (folder) => [
    ...head(folder, hasStreams),
    ...httpOf(folder, [
      ...server(`${way.inbound.http} ssl`, inboundTls(certificates), way.application.http, 'http'),
      ...server(`${way.inbound.grpc} ssl http2`, inboundTls(certificates), way.application.grpc, 'grpc'),
    ]),
    ...(hasStreams ? inboundStream(certificates, way) : []),
  ]);
  const outbound = launch(stage, 'nginx-outbound', (folder) => [
    ...head(folder, hasStreams),
    ...httpOf(folder, [
      ...server(way.client.http, outboundTls(certificates, 'proxy'), way.inbound.http, 'https'),
      ...server(`${way.client.grpc} http2`, outboundTls(certificates, 'grpc'), way.inbound.grpc, 'grpcs'),
    ]),
    ...(hasStreams ? outboundStream(certificates, way) : []),
  ]);
  await answering(stage, way.client.http, outbound);
  assertOwned(way.inbound.http, [inbound.pid]);
  const { http, grpc, tcp } = way.client;
  const endpoints = hasStreams ? { http, grpc, tcp } : { http, grpc };
  return { name: 'nginx', endpoints, proxies: [outbound, inbound] };
}

function launch(stage: Stage, name: string, config: (folder: string) => readonly string[]): Program {
  const folder = join(stage.directory, name);
  mkdirSync(folder, { mode: 0o700 });
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, `${config(folder).join('\n')}\n`);
  return stage.start('nginx', ['-p', folder, '-c', file, '-e', join(folder, 'error.log')]);
}

let upstreams = 0;

function server(listen: string, tls: readonly string[], to: string, scheme: string): string[] {
  const upstream = `upstream_${upstreams++}`;
  const keepAlive = ['keepalive 1024;', 'keepalive_requests 1000000000;', 'keepalive_timeout 3600s;'];
  const forward = scheme.startsWith('grpc')
    ? [`grpc_pass ${scheme}://${upstream};`]
    : [`proxy_pass ${scheme}://${upstream};`, 'proxy_http_version 1.1;', 'proxy_set_header Connection "";'];
  return [
    ...[`upstream ${upstream} {`, `server ${to};`, ...keepAlive, '}'],
    ...['server {', `listen ${listen} backlog=1024;`, ...tls],
    ...['location / {', ...forward, '}', '}'],
  ];
}

function inboundTls({ authority, inbound }: Certificates): string[] {
  return [
    `ssl_certificate ${inbound.certificate};`,
    `ssl_certificate_key ${inbound.key};`,
    `ssl_client_certificate ${authority};`,
    ...['ssl_verify_client on;', 'ssl_protocols TLSv1.3;', `ssl_conf_command Ciphersuites ${cipherSuite};`],
  ];
}

function outboundTls({ authority, outbound }: Certificates, module: 'proxy' | 'grpc'): string[] {
  const lines = [
    `ssl_certificate ${outbound.certificate};`,
    `ssl_certificate_key ${outbound.key};`,
    `ssl_trusted_certificate ${authority};`,
    ...['ssl_verify on;', 'ssl_server_name on;', `ssl_name ${serverName};`, 'ssl_protocols TLSv1.3;'],
    `ssl_conf_command Ciphersuites ${cipherSuite};`,
  ];
  return lines.map((line) => `${module}_${line}`);
}

function inboundStream(certificates: Certificates, way: Way): string[] {
  return stream([
    `listen ${way.inbound.tcp} ssl;`,
    ...inboundTls(certificates),
    `proxy_pass ${way.application.tcp};`,
  ]);
}

function outboundStream(certificates: Certificates, way: Way): string[] {
  return stream([
    `listen ${way.client.tcp};`,
    `proxy_pass ${way.inbound.tcp};`,
    'proxy_ssl on;',
    ...outboundTls(certificates, 'proxy'),
  ]);
}

function stream(lines: readonly string[]): string[] {
  return ['stream {', 'server {', 'tcp_nodelay on;', 'proxy_buffer_size 64k;', ...lines, '}', '}'];
}
