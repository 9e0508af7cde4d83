/**
 * `npm run demo`: three real agents on 127.0.1.1 to 127.0.1.3, `web` on the first, `api` on the other two, and
 * real requests from application to application. With `--once` it kills one `api` host and shows that no
 * request failed once it was ejected, then exits 0, or 1 with what went wrong.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bird, Flock, type Program, until } from './flock.ts';
import { Load } from './load.ts';

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
const flock = new Flock();

function say(text: string): void {
  process.stdout.write(`demo: ${text}\n`);
}

async function service(name: string, listen: string, ...args: string[]): Promise<Program> {
  const program = flock.program('demo/service.ts', ['--name', name, '--listen', listen, ...args]);
  await program.line('service: ready', 30_000);
  return program;
}

async function register(bird: Bird, definition: object): Promise<void> {
  const file = join(flock.directory, `${bird.name}.json`);
  writeFileSync(file, JSON.stringify({ service: definition }, null, 2));
  const result = await bird.cli('register', file);
  if (result.code !== 0) throw new Error(`register on ${bird.name}: ${result.stderr.trim()}`);
}

const upstreamPort = 9100;

async function takeOff(): Promise<{ birds: [Bird, Bird, Bird]; apis: [Program, Program]; web: string }> {
  const birds = (await flock.start([
    { n: 1, name: 'one' },
    { n: 2, name: 'two' },
    { n: 3, name: 'three' },
  ])) as [Bird, Bird, Bird];
  const [one, two, three] = birds;
  for (const bird of birds)
    say(`agent ${bird.name} on ${bird.address}, API ${bird.httpUrl}, data ${bird.dataDir}`);

  const web = `${one.address}:9000`;
  await service('web', web, '--call', `http://${one.address}:${upstreamPort}/`);
  const apis: Program[] = [];
  for (const bird of [two, three]) {
    const listen = `${bird.address}:9001`;
    apis.push(await service('api', listen));
    const check = { http: `http://${listen}/health`, interval: '500ms', timeout: '10s' };
    await register(bird, { name: 'api', address: bird.address, port: 9001, check });
  }
  const upstreams = [
    { destination_name: 'api', local_bind_address: one.address, local_bind_port: upstreamPort },
  ];
  await register(one, {
    name: 'web',
    address: one.address,
    port: 9000,
    connect: { sidecar_service: { proxy: { upstreams } } },
  });
  say('registered web on one, api on two and three');
  await until('both api instances pass on one', 30_000, async () => {
    return (await one.get<unknown[]>('/v1/health/service/api?passing')).length === 2;
  });
  return { birds, apis: apis as [Program, Program], web };
}

async function status(url: string): Promise<number> {
  const response = await fetch(url);
  await response.text();
  return response.status;
}

/** Denied first, then allowed by an intention written on a third host. */
async function permit(birds: [Bird, Bird, Bird]): Promise<void> {
  const [one, , three] = birds;
  const upstream = `http://${one.address}:${upstreamPort}/`;
  await until('api refuses web', 20_000, async () => (await status(upstream)) === 403);
  say('web -> api without an intention: 403, as the default is deny');
  const created = await three.cli('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  if (created.code !== 0) throw new Error(`intention create: ${created.stderr.trim()}`);
  // Both api hosts decide for themselves: twenty answers in a row come from either.
  const took = await until('web reaches api', 20_000, async () => {
    for (let i = 0; i < 20; i++) if ((await status(upstream)) !== 200) return false;
    return true;
  });
  say(
    `intention web -> api allowed on three; in force on every host after ${took.toFixed(0)} ms, 20 requests included`,
  );
}

async function show(web: string): Promise<void> {
  const seen = new Map<string, number>();
  for (let i = 0; i < 40; i++) {
    const response = await fetch(`http://${web}/`);
    const body = (await response.json()) as { called?: string; error?: string };
    if (response.status !== 200) throw new Error(`web answered ${response.status}: ${JSON.stringify(body)}`);
    const { address } = JSON.parse(body.called!) as { address: string };
    seen.set(address, (seen.get(address) ?? 0) + 1);
  }
  const share = [...seen].map(([address, count]) => `${address} x${count}`).sort();
  say(`40 requests to web, each called api through the mesh: ${share.join(', ')}`);
}

/** SIGKILLs host two, agent and application, under load. */
async function lose(birds: [Bird, Bird, Bird], api: Program, web: string): Promise<void> {
  const [one, two, three] = birds;
  const load = new Load(`http://${web}/`, 8, 5);
  await new Promise((done) => setTimeout(done, 1000));
  const killedAt = load.elapsedMs;
  two.program!.child.kill('SIGKILL');
  api.child.kill('SIGKILL');
  say('killed host two: its agent and its api, both with SIGKILL');
  await until('one and three dropped two', 30_000, async () => {
    const answers = await Promise.all(
      [one, three].map((bird) => bird.get<unknown[]>('/v1/health/service/api?passing')),
    );
    return answers.every((instances) => instances.length === 1);
  });
  const ejectedAt = load.elapsedMs;
  say(`every agent dropped it after ${(ejectedAt - killedAt).toFixed(0)} ms`);
  await new Promise((done) => setTimeout(done, 1500));
  const late = load.failedSince(ejectedAt);
  const report = await load.stop();
  const reasons = Object.entries(report.reasons).map(([reason, count]) => `${reason} x${count}`);
  say(
    `${report.sent} requests, ${report.failed} failed between kill and ejection (${reasons.join(', ') || 'none'}), ` +
      `${late} failed after ejection; p50 ${report.p50.toFixed(1)} ms, p99 ${report.p99.toFixed(1)} ms`,
  );
  if (late > 0) throw new Error(`${late} requests failed after the killed host was ejected`);
}

async function fly(): Promise<void> {
  const { birds, apis, web } = await takeOff();
  await permit(birds);
  await show(web);
  if (values.once) {
    await lose(birds, apis[0], web);
    return;
  }
  say(`the flock is up. Try:`);
  say(`  curl http://${web}/`);
  say(`  curl -H 'Host: api.mesh' http://${birds[0].address}:${birds[0].outboundPort}/`);
  say(`  bin/starling members --http ${birds[0].http}`);
  say(`  bin/starling intention list --http ${birds[2].http}`);
  say(
    `API of host one: ${birds[0].httpUrl}/v1/mesh/status, metrics ${birds[0].httpUrl}/metrics; Ctrl-C stops all`,
  );
  await new Promise<void>((done) => {
    process.once('SIGINT', done);
    process.once('SIGTERM', done);
  });
}

let exit = 0;
try {
  await fly();
  if (values.once) say('done: nothing failed after ejection');
} catch (error) {
  exit = 1;
  process.stderr.write(`demo: failed: ${error instanceof Error ? error.message : String(error)}\n`);
}
await flock.stop();
process.exit(exit);
