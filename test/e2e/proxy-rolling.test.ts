/** Every agent of the mesh is restarted in turn, as an upgrade does, while requests go on: none fails. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, test } from 'node:test';
import { type Bird, until } from '../../demo/flock.ts';
import { passing, startMesh, type TestMesh, upstreamPort } from './mesh.ts';

const clients = 8;

let mesh: TestMesh;
before(async () => {
  mesh = await startMesh();
  const { flock, one } = mesh;
  const allowed = await one.cli('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  assert.equal(allowed.code, 0, allowed.stderr);
  await until('web may call api', 20_000, async () => {
    const decided = await Promise.all(
      [mesh.two, mesh.three].map((bird) => bird.cli('intention', 'check', 'web', 'api')),
    );
    return decided.every(({ code }) => code === 0);
  });
});
after(() => mesh?.flock.stop());

type Outcome = number | string;

/** One request by a client that keeps its connections, as most do: GET and POST in turn. */
function ask(agent: Agent, method: string): Promise<Outcome> {
  return new Promise((done) => {
    const asked = request(
      { agent, host: mesh.one.address, port: upstreamPort, method, path: '/' },
      (response) => {
        response.resume();
        response.on('end', () => done(response.statusCode ?? 0));
        response.on('error', (error) => done(`answer cut: ${error.message}`));
      },
    );
    asked.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    asked.end(method === 'POST' ? 'body' : undefined);
  });
}

interface Load {
  readonly counts: Map<Outcome, number>;
  stop(): Promise<void>;
}

/**
 * Requests without a pause. While the client's own agent is away nobody listens on the upstream port: a client then
 * connects again, for nothing of its request was sent; `refused connections` counts those.
 */
function startLoad(): Load {
  const counts = new Map<Outcome, number>();
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  let running = true;
  const client = async (index: number): Promise<void> => {
    for (let turn = index; running; turn++) {
      const outcome = await ask(agent, turn % 2 === 0 ? 'GET' : 'POST');
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      if (outcome === 'ECONNREFUSED') await new Promise((done) => setTimeout(done, 20));
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, index) => client(index)));
  const stop = async (): Promise<void> => {
    running = false;
    await all;
    agent.destroy();
  };
  return { counts, stop };
}

async function restart(bird: Bird): Promise<void> {
  assert.equal(await bird.program!.stop(), 0, bird.program!.stderr.slice(-500));
  await bird.start();
  // An upgrade goes on to the next host once this one serves again.
  await until('both api instances pass again', 30_000, async () => (await passing(mesh.one, 'api')) === 2);
}

function served(load: Load): number {
  return load.counts.get(200) ?? 0;
}

async function moreServed(load: Load): Promise<void> {
  const before = served(load);
  await until('requests go on', 30_000, () => Promise.resolve(served(load) >= before + 100));
}

test('the agents beside the instances are restarted one after the other, and no request fails', async () => {
  const load = startLoad();
  try {
    await moreServed(load);
    for (const bird of [mesh.two, mesh.three]) {
      await restart(bird);
      await moreServed(load);
    }
  } finally {
    await load.stop();
  }
  assert.deepEqual([...load.counts.keys()], [200], JSON.stringify([...load.counts]));
});

test('the agent beside the client is restarted, and no request that was sent fails', async () => {
  const load = startLoad();
  try {
    await moreServed(load);
    await restart(mesh.one);
    await moreServed(load);
  } finally {
    await load.stop();
  }
  load.counts.delete('ECONNREFUSED');
  assert.deepEqual([...load.counts.keys()], [200], JSON.stringify([...load.counts]));
});
