/** Certificates of the mesh are ordinary ones: what other TLS stacks make of them, before and after a rotation. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { type Bird, command, Flock, Program, until } from '../../demo/flock.ts';
import { curl, registerWeb, startService } from './mesh.ts';
import { callMutually, serverNameOf } from './mutual-tls.ts';
import { hostsFrom, leafOf, scene, serveApi, untilBelieved, untilReachable } from './roots.ts';

const flags = ['--trustee-settle', '2s', '--svid-ttl', '5m'];
const flock = new Flock();
let one: Bird;
let two: Bird;
let name: string;
/** The bundle of before the rotation, which contains one root. */
let oldRoots: string;
before(async () => {
  const birds = await flock.start(hostsFrom(91, 3, flags));
  [one, two] = birds as [Bird, Bird];
  await untilBelieved(birds, /g1\*$/, 90_000);
  await startService(flock, 'web', `${one.address}:9000`);
  await registerWeb(flock, one, 'api');
  await serveApi(flock, two);
  await one.json('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  await untilReachable(one);
  await untilBelieved(birds, /^g1\*$/, 60_000);
  const { TrustDomain } = await one.get<{ TrustDomain: string }>('/v1/connect/ca/roots');
  name = serverNameOf('api', TrustDomain);
});
after(() => flock.stop());

/** What the API gives of a service's certificates, its key and the mesh's roots, as files that other programs read. */
interface Files {
  readonly folder: string;
  readonly leaf: string;
  /** Null where the certificate is believed by itself. */
  readonly links: string | null;
  readonly key: string;
  readonly both: string;
  readonly roots: string;
}

async function filesOf(bird: Bird, service: string, roots: string, label: string): Promise<Files> {
  const folder = join(flock.directory, `${label}-${service}`);
  mkdirSync(folder, { recursive: true });
  const { certPem, keyPem } = await leafOf(bird, service);
  const [leaf, ...links] = certPem.split(/(?<=-----END CERTIFICATE-----\n)/);
  const write = (file: string, content: string): string => {
    writeFileSync(join(folder, file), content, { mode: 0o600 });
    return join(folder, file);
  };
  return {
    folder,
    leaf: write('leaf.pem', leaf!),
    links: links.length === 0 ? null : write('links.pem', links.join('')),
    key: write('key.pem', keyPem),
    both: write('both.pem', certPem + keyPem),
    roots: write('roots.pem', roots),
  };
}

async function rootsPem(): Promise<string> {
  const { Roots } = await one.get<{ Roots: { RootCert: string }[] }>('/v1/connect/ca/roots');
  return Roots.map(({ RootCert }) => RootCert).join('');
}

async function verifyWithOpenssl({ leaf, links, roots }: Files): Promise<void> {
  const untrusted = links === null ? [] : ['-untrusted', links];
  const verified = await command('openssl', [
    ...['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', roots, ...untrusted, leaf],
  ]);
  assert.equal(verified.code, 0, verified.stderr);
  assert.match(verified.stdout, /leaf\.pem: OK/);
}

/** `openssl s_client` as `web`, straight to the inbound port of `api`'s host. */
function askWithOpenssl({ both, roots }: Files): string {
  return execFileSync(
    'openssl',
    [
      ...[
        's_client',
        '-connect',
        `${two.address}:${two.inboundPort}`,
        '-servername',
        name,
        '-verify_hostname',
      ],
      ...[name, '-x509_strict', '-verify_return_error', '-CAfile', roots, '-cert', both, '-cert_chain', both],
      ...['-key', both, '-alpn', 'http/1.1', '-quiet', '-ign_eof'],
    ],
    {
      input: 'GET / HTTP/1.1\r\nHost: api.mesh\r\nConnection: close\r\n\r\n',
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
}

async function askWithCurl(
  { both, roots }: Files,
  port: number,
  address: string,
  of = name,
): Promise<string> {
  const { status, body, stderr } = await curl(
    ...[
      '--http1.1',
      '--cacert',
      roots,
      '--cert',
      both,
      '--key',
      both,
      '--resolve',
      `${of}:${port}:${address}`,
    ],
    `https://${of}:${port}/`,
  );
  assert.equal(status, 200, `${body} ${stderr}`);
  return body;
}

/** Runs another proxy while `ask` asks: at `plainPort` as a client of `api`, at `tlsPort` as a server that is `api`. */
async function withProxy(
  program: Program,
  ports: readonly number[],
  ask: () => Promise<void>,
): Promise<void> {
  try {
    for (const port of ports)
      await until(`port ${port} is open`, 20_000, async () => {
        assert.ok(program.running, program.stderr);
        return (
          (await command('curl', ['-s', '-m', '1', `telnet://${one.address}:${port}`, '-T', '/dev/null']))
            .code !== 7
        );
      });
    await ask();
  } catch (error) {
    console.error(program.stderr);
    throw error;
  } finally {
    await program.stop();
  }
}

const plainPort = 9301;
const tlsPort = 9302;

function haproxy(web: Files, api: Files): Program {
  const file = join(web.folder, 'haproxy.cfg');
  const server = `${two.address}:${two.inboundPort} ssl crt ${web.both} ca-file ${web.roots} verify required`;
  writeFileSync(
    file,
    `defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen client
  bind ${one.address}:${plainPort}
  server api ${server} sni str(${name}) verifyhost ${name} alpn http/1.1
listen server
  bind ${one.address}:${tlsPort} ssl crt ${api.both} ca-file ${api.roots} verify required
  http-request return status 200 content-type text/plain lf-string "%[ssl_c_verify] %{+Q}[ssl_c_s_dn]"
`,
  );
  return new Program('haproxy', ['-db', '-f', file]);
}

function nginx(web: Files, api: Files): Program {
  const file = join(web.folder, 'nginx.conf');
  writeFileSync(
    file,
    `user root; daemon off; master_process off; pid ${web.folder}/nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${web.folder}/b; proxy_temp_path ${web.folder}/p; fastcgi_temp_path ${web.folder}/f;
  uwsgi_temp_path ${web.folder}/u; scgi_temp_path ${web.folder}/s;
  server {
    listen ${one.address}:${plainPort};
    location / {
      proxy_pass https://${two.address}:${two.inboundPort};
      proxy_http_version 1.1;
      proxy_set_header Host api.mesh;
      proxy_ssl_certificate ${web.both};
      proxy_ssl_certificate_key ${web.both};
      proxy_ssl_trusted_certificate ${web.roots};
      proxy_ssl_verify on;
      proxy_ssl_verify_depth 2;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_server_name on;
      proxy_ssl_name ${name};
    }
  }
  server {
    listen ${one.address}:${tlsPort} ssl;
    ssl_certificate ${api.both};
    ssl_certificate_key ${api.both};
    ssl_client_certificate ${api.roots};
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_protocols TLSv1.3;
    location / { return 200 "$ssl_client_verify"; }
  }
}
`,
  );
  return new Program('nginx', ['-p', web.folder, '-c', file]);
}

/** Everybody, as a client of the mesh and as a server for one of its services. */
async function askWithAll(roots: string, label: string): Promise<void> {
  const web = await filesOf(one, 'web', roots, label);
  const api = await filesOf(two, 'api', roots, label);
  await verifyWithOpenssl(web);
  assert.match(askWithOpenssl(web), /^HTTP\/1\.1 200 /);
  assert.match(await askWithCurl(web, two.inboundPort, two.address), /"service":"api"/);
  for (const start of [haproxy, nginx])
    await withProxy(start(web, api), [plainPort, tlsPort], async () => {
      const answer = await curl(`http://${one.address}:${plainPort}/`);
      assert.equal(answer.status, 200, answer.body);
      assert.match(answer.body, /"service":"api"/);
      assert.match(await askWithCurl(web, tlsPort, one.address), /^(0 |SUCCESS)/);
    });
}

scene(
  'openssl, curl, haproxy, nginx and Node verify what the quorum signed, and are believed',
  () => flock,
  async () => {
    oldRoots = await rootsPem();
    assert.equal(oldRoots.split('BEGIN CERTIFICATE').length, 2);
    await askWithAll(oldRoots, 'g1');
    const { status, serverNames } = await callMutually(one, 'web', two, 'api');
    assert.equal(status, 200);
    assert.match(serverNames, new RegExp(`URI:spiffe://.*/svc/api.*DNS:${name}`));
  },
);

scene(
  'after a rotation they verify what the new root signed, also those who know only the old one',
  () => flock,
  async () => {
    await one.json('ca', 'rotate', ...flock.operator());
    await untilBelieved(flock.birds, /g2\*$/, 60_000);
    await untilBelieved(flock.birds, /^g2\*$/, 60_000);
    const newRoots = await rootsPem();
    assert.notEqual(newRoots, oldRoots);
    await askWithAll(newRoots, 'g2');
    // The chain that a server presents leads to the root before, for those who have not heard of the new one.
    await askWithAll(oldRoots, 'g2-by-g1');
    assert.equal((await callMutually(one, 'web', two, 'api')).status, 200);
  },
);

scene(
  'nobody verifies it by another mesh’s root',
  () => flock,
  async () => {
    const key = join(flock.directory, 'stranger.key');
    const stranger = join(flock.directory, 'stranger.pem');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '1', '-keyout', key, '-out', stranger],
        ...['-subj', '/CN=stranger'],
      ],
      { stdio: 'ignore' },
    );
    const web = { ...(await filesOf(one, 'web', await rootsPem(), 'stranger')), roots: stranger };
    const verified = await command('openssl', ['verify', '-x509_strict', '-CAfile', stranger, web.leaf]);
    assert.notEqual(verified.code, 0);
    assert.throws(() => askWithOpenssl(web));
    await assert.rejects(askWithCurl(web, two.inboundPort, two.address));
  },
);
