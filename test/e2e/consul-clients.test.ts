/** Clients that were written for Consul and for DNS, unmodified, against real agents. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Consul from 'consul';
import { type Bird, Flock, Program, until } from '../../demo/flock.ts';
import { curl, startService } from './mesh.ts';

const flock = new Flock();
const programs: Program[] = [];
let one: Bird;
let two: Bird;
let client: Consul;

before(async () => {
  [one, two] = (await flock.start([
    { n: 1, name: 'one' },
    { n: 2, name: 'two', extra: ['--zone', 'b'] },
  ])) as [Bird, Bird];
  client = new Consul({ host: one.address, port: 8500 });
  for (const bird of [one, two]) await startService(flock, `pong-${bird.name}`, `${bird.address}:9001`);
});
after(async () => {
  await Promise.all(programs.map((program) => program.stop()));
  await flock.stop();
});

function start(command: string, args: readonly string[]): Program {
  const program = new Program(command, args);
  programs.push(program);
  return program;
}

interface HealthRow {
  readonly Node: { readonly Node: string };
  readonly Service: { readonly Service: string; readonly Port: number; readonly Tags: readonly string[] };
  readonly Checks: readonly { readonly Status: string }[];
}

test('npm consul registers, reads health, watches changes and deregisters', async () => {
  await client.agent.service.register({
    name: 'pong',
    id: 'pong-1',
    address: one.address,
    port: 9001,
    tags: ['metrics', 'v1'],
    check: { ttl: '60s', status: 'passing' } as never,
  });
  const seen: string[] = [];
  const watch = client.watch({
    method: client.health.service as unknown as () => void,
    options: { service: 'pong', passing: 'true' } as { [name: string]: string },
  });
  const failures: unknown[] = [];
  watch.on('error', (error: unknown) => failures.push(error));
  watch.on('change', (rows: readonly HealthRow[]) => {
    seen.push(rows.map(({ Node }) => Node.Node).join(','));
  });
  await until('the watch sees the first instance', 15_000, async () => seen.includes('one'));
  const beside = new Consul({ host: two.address, port: 8500 });
  await beside.agent.service.register({ name: 'pong', address: two.address, port: 9001, tags: ['v2'] });
  await until('the watch sees the second instance', 15_000, async () => seen.includes('one,two'));
  await client.agent.check.fail({ id: 'service:pong-1', note: 'out for lunch' } as never);
  await until('the watch sees the failing instance go', 15_000, async () => seen.at(-1) === 'two');
  await client.agent.check.pass('service:pong-1');
  await until('and come back', 15_000, async () => seen.at(-1) === 'one,two');
  assert.deepEqual(failures, []);
  watch.end();

  const services = (await client.catalog.service.list()) as { [name: string]: readonly string[] };
  assert.deepEqual(services.pong, ['metrics', 'v1', 'v2']);
  const rows = (await client.health.service({
    service: 'pong',
    filter: '"v2" in Service.Tags',
  } as never)) as readonly HealthRow[];
  assert.deepEqual(
    rows.map(({ Node }) => Node.Node),
    ['two'],
  );
  assert.match(String(await client.status.leader()), /:7946$/);
  const members = (await client.agent.members()) as readonly { readonly Name: string }[];
  assert.deepEqual(members.map(({ Name }) => Name).sort(), ['one', 'two']);
});

test('npm consul is told in a sentence what has no place without servers', async () => {
  await assert.rejects(Promise.resolve(client.kv.get('x')), /not implemented|501/i);
});

test('VictoriaMetrics discovers what to scrape through the API of Consul', async () => {
  const config = join(flock.directory, 'scrape.yml');
  writeFileSync(
    config,
    `scrape_configs:
  - job_name: mesh
    scrape_interval: 1s
    metrics_path: /health
    consul_sd_configs:
      - server: ${one.http}
        services: [pong]
    relabel_configs:
      - source_labels: [__meta_consul_node]
        target_label: host
`,
  );
  const storage = join(flock.directory, 'victoria');
  const listen = '127.0.1.1:8428';
  start('victoria-metrics', [
    `-promscrape.config=${config}`,
    `-storageDataPath=${storage}`,
    `-httpListenAddr=${listen}`,
    '-promscrape.consulSDCheckInterval=1s',
  ]);
  await until('both instances are targets', 30_000, async () => {
    const reply = await fetch(`http://${listen}/api/v1/targets`).catch(() => null);
    if (reply === null || !reply.ok) return false;
    const { data } = (await reply.json()) as {
      data: { activeTargets: readonly { readonly labels: { readonly [name: string]: string } }[] };
    };
    const hosts = data.activeTargets.map(({ labels }) => labels.host);
    return hosts.length === 2 && hosts.includes('one') && hosts.includes('two');
  });
});

test('Prometheus discovers what to scrape through its own HTTP service discovery', async () => {
  const config = join(flock.directory, 'prometheus.yml');
  writeFileSync(
    config,
    `scrape_configs:
  - job_name: mesh
    scrape_interval: 1s
    metrics_path: /health
    http_sd_configs:
      - url: http://${one.http}/v1/mesh/targets/pong
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_consul_tags]
        regex: .*,v2,.*
        action: keep
      - source_labels: [__meta_consul_node]
        target_label: host
`,
  );
  const listen = '127.0.1.1:9090';
  start('prometheus', [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(flock.directory, 'prometheus')}`,
    `--web.listen-address=${listen}`,
  ]);
  await until('the tagged instance is a target', 30_000, async () => {
    const reply = await fetch(`http://${listen}/api/v1/targets`).catch(() => null);
    if (reply === null || !reply.ok) return false;
    const { data } = (await reply.json()) as {
      data: { activeTargets: readonly { readonly labels: { readonly [name: string]: string } }[] };
    };
    return data.activeTargets.map(({ labels }) => labels.host).join() === 'two';
  });
});

test('HAProxy fills a backend from SRV records, and follows them', async () => {
  const config = join(flock.directory, 'haproxy.cfg');
  writeFileSync(
    config,
    `global
  stats socket ${join(flock.directory, 'haproxy.sock')} mode 600 level admin
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
resolvers mesh
  nameserver one ${one.address}:8600
  accepted_payload_size 8192
  hold valid 1s
  timeout resolve 200ms
  timeout retry 200ms
frontend in
  bind 127.0.1.1:8081
  default_backend pong
backend pong
  balance roundrobin
  server-template pong 4 _pong._tcp.service.mesh resolvers mesh init-addr none
`,
  );
  start('haproxy', ['-db', '-f', config]);
  await until('both instances answer through HAProxy', 20_000, async () => {
    const names = new Set<string>();
    for (let i = 0; i < 6; i++) {
      const { status, body } = await curl('http://127.0.1.1:8081/');
      if (status === 200) names.add((JSON.parse(body) as { service: string }).service);
    }
    return names.has('pong-one') && names.has('pong-two');
  });
});

test('nginx resolves a service by name while it runs', async () => {
  const folder = join(flock.directory, 'nginx');
  mkdirSync(folder);
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off;
pid ${folder}/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${folder};
  proxy_temp_path ${folder};
  fastcgi_temp_path ${folder};
  uwsgi_temp_path ${folder};
  scgi_temp_path ${folder};
  resolver ${one.address}:8600 valid=1s ipv6=off;
  server {
    listen 127.0.1.1:8082;
    location / {
      set $backend v2.pong.service.mesh;
      proxy_pass http://$backend:9001;
    }
  }
}
`,
  );
  start('nginx', ['-c', config, '-p', folder]);
  await until('nginx reaches the instance with the tag', 20_000, async () => {
    const { status } = await curl('http://127.0.1.1:8082/health');
    return status === 200;
  });
});
