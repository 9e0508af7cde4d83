/** The peer written in Go: one Caddy beside the client, one beside the application, HTTP/2 over mutual TLS between. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import { type Certificates, serverName } from './certificates.ts';
import type { Subject, Way } from './subject.ts';

/** It relays no bytes: that takes a plug-in which Debian's package has not. */
export async function startCaddy(stage: Stage, certificates: Certificates, way: Way): Promise<Subject> {
  for (const endpoint of [way.inbound.http, way.client.http]) assertFree(endpoint);
  const inbound = launch(stage, 'caddy-inbound', inboundConfig(certificates, way));
  const outbound = launch(stage, 'caddy-outbound', outboundConfig(certificates, way));
  await answering(stage, way.client.http, outbound);
  assertOwned(way.inbound.http, [inbound.pid]);
  const { http, grpc } = way.client;
  return { name: 'caddy', endpoints: { http, grpc }, proxies: [outbound, inbound] };
}

function launch(stage: Stage, name: string, apps: object): Program {
  const folder = join(stage.directory, name);
  mkdirSync(folder, { mode: 0o700 });
  const file = join(folder, 'caddy.json');
  const quiet = { logs: { default: { level: 'ERROR' } } };
  writeFileSync(file, JSON.stringify({ admin: { disabled: true }, logging: quiet, apps }));
  // It keeps state of its own in the home directory.
  return stage.start('env', [`HOME=${folder}`, 'caddy', 'run', '--config', file]);
}

function inboundConfig({ authority, inbound }: Certificates, way: Way): object {
  const tls = {
    // The client asks for the application by its own name, not by the proxy's.
    strict_sni_host: false,
    tls_connection_policies: [
      {
        client_authentication: { trusted_ca_certs_pem_files: [authority], mode: 'require_and_verify' },
        protocol_min: 'tls1.3',
      },
    ],
  };
  const files = [{ certificate: inbound.certificate, key: inbound.key }];
  return {
    tls: { certificates: { load_files: files } },
    http: {
      servers: {
        plain: { ...server(way.inbound.http, way.application.http, { versions: ['1.1'] }), ...tls },
        calls: { ...server(way.inbound.grpc, way.application.grpc, { versions: ['h2c', '2'] }), ...tls },
      },
    },
  };
}

function outboundConfig({ authority, outbound }: Certificates, way: Way): object {
  const transport = {
    versions: ['2'],
    tls: {
      root_ca_pem_files: [authority],
      client_certificate_file: outbound.certificate,
      client_certificate_key_file: outbound.key,
      server_name: serverName,
    },
  };
  return {
    http: {
      servers: {
        plain: server(way.client.http, way.inbound.http, transport),
        calls: { ...server(way.client.grpc, way.inbound.grpc, transport), protocols: ['h1', 'h2', 'h2c'] },
      },
    },
  };
}

function server(listen: string, to: string, transport: object): object {
  const handler = {
    handler: 'reverse_proxy',
    transport: { protocol: 'http', ...transport, keep_alive: { max_idle_conns_per_host: 1024 } },
    upstreams: [{ dial: to }],
  };
  return { listen: [listen], automatic_https: { disable: true }, routes: [{ handle: [handler] }] };
}
