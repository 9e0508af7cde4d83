/** New configurations, lost servers and goodbyes: what the calls in between notice. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { ProxyConfig } from '../../../../src/proxy/config.ts';
import type { Log } from '../../../../src/proxy/io/embedded.ts';
import {
  cluster,
  emptyConfig,
  identityOf,
  inboundService,
  listener,
  listenOn,
  portOf,
  startHttpApp,
  startMesh,
  startPlane,
  testAuthority,
  trafficOf,
} from '../../../support/mesh.ts';

/** By default a request that must not be sent twice, so that no retry can hide a loss. */
function call(port: number, agent: Agent, method = 'POST'): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, agent, method }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(method === 'POST' ? 'hello' : '');
  });
}

/** Keeps calling on `width` connections until `work` is done; what every call came to, by status. */
async function underLoad(
  port: number,
  width: number,
  work: () => Promise<void>,
): Promise<Map<number | string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: width });
  const outcomes = new Map<number | string, number>();
  let going = true;
  const callers = Array.from({ length: width }, async () => {
    while (going) {
      const outcome = await call(port, agent).catch((error: Error) => error.message);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  await work();
  going = false;
  await Promise.all(callers);
  agent.destroy();
  return outcomes;
}

/** Calls `act` each time the callee has served some more requests. */
async function whileServing(
  served: () => number,
  rounds: number,
  act: (round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const target = served() + 50;
    while (served() < target) await new Promise(setImmediate);
    await act(round);
  }
}

test('configurations swapped under load drop nothing', async (t) => {
  let served = 0;
  const serve = (_request: IncomingMessage, response: import('node:http').ServerResponse): void => {
    served++;
    response.end('ok');
  };
  const apps = [await startHttpApp(t, serve), await startHttpApp(t, serve)];
  const mesh = await startMesh(t, apps);
  const renewed = testAuthority().issue('web');
  const outcomes = await underLoad(mesh.port, 8, () =>
    whileServing(
      () => served,
      12,
      async (round) => {
        // An instance goes and comes, the certificate is renewed and renewed back, listeners come and go.
        await mesh.callee.apply({
          ...mesh.calleeConfig,
          inbound: {
            ...mesh.calleeConfig.inbound,
            services: [inboundService('api', round % 2 ? apps : apps.slice(1))],
          },
        });
        await mesh.caller.apply({
          ...mesh.callerConfig,
          identities: [round % 3 === 0 ? renewed : identityOf('web')],
          outbound: round % 2 ? [listener('web', 'api')] : [listener('web', 'api'), listener('web', null)],
        });
      },
    ),
  );
  assert.deepEqual([...outcomes.keys()], [200]);
});

test('a host that says goodbye under load drops nothing', async (t) => {
  let served = 0;
  const app = await startHttpApp(t, (_request, response) => {
    served++;
    response.end('ok');
  });
  const mesh = await startMesh(t, [app]);
  const leaving = startPlane(t);
  await leaving.apply(mesh.calleeConfig);
  const ports = [mesh.inboundPort, portOf(leaving, 'inbound')];
  await mesh.caller.apply({ ...mesh.callerConfig, clusters: [cluster('api', ports)] });
  const outcomes = await underLoad(mesh.port, 8, () =>
    whileServing(
      () => served,
      2,
      async (round) => {
        if (round === 0) await leaving.close(5000);
      },
    ),
  );
  assert.deepEqual([...outcomes.keys()], [200]);
});

test('a server that cannot be reached costs one retry elsewhere, not an error', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  await mesh.caller.apply({ ...mesh.callerConfig, clusters: [cluster('api', [1, mesh.inboundPort])] });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  for (let i = 0; i < 20; i++) assert.equal(await call(mesh.port, agent, 'GET'), 200);
  const { retries, byClass } = trafficOf(mesh.caller, 'source');
  assert.ok(retries >= 1 && retries < 5, `${retries} retries: it must have fallen out of favour at once`);
  assert.equal(byClass[2], 20);
});

test('when nobody can be reached the answer says so', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  await mesh.caller.apply({ ...mesh.callerConfig, clusters: [cluster('api', [1, 2])] });
  const response = await fetch(`http://127.0.0.1:${mesh.port}/`, { method: 'POST', body: 'hello' });
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('x-starling-reason'), 'connect-failure');
});

test('a server that cannot be reached is logged once, and later with how often it was tried', async (t) => {
  let passedMs = 0;
  const counts: unknown[] = [];
  const mesh = await startMesh(t, [1], {
    caller: {
      now: () => performance.now() + passedMs,
      log: (_level, event, fields) => event === 'connect-failure' && counts.push(fields.count),
    },
  });
  await mesh.caller.apply({ ...mesh.callerConfig, clusters: [cluster('api', [1])] });
  const fail = async () => assert.equal((await fetch(`http://127.0.0.1:${mesh.port}/`)).status, 503);
  for (let i = 0; i < 4; i++) await fail();
  assert.deepEqual(counts, [1]);
  passedMs = 30_000;
  await fail();
  assert.deepEqual(counts, [1, 4]);
});

test('an idle connection that the application closed costs nothing', async (t) => {
  let served = 0;
  const sockets = new Set<import('node:net').Socket>();
  const app = await listenOn(
    t,
    createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      // Answers once, then drops the connection as soon as the next request comes.
      socket.once('data', () => {
        served++;
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        socket.once('data', () => socket.destroy());
      });
    }),
  );
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const mesh = await startMesh(t, [app]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  for (let i = 0; i < 5; i++) assert.equal(await call(mesh.port, agent, 'GET'), 200);
  assert.equal(served, 5);
});

test('a port that is taken is reported, logged once, and tried again with the next configuration', async (t) => {
  const holder = createServer();
  const port = await listenOn(t, holder);
  const logged: string[] = [];
  const log: Log = (level, event, { id, error }) => logged.push(`${level} ${event} ${id} ${error}`);
  const plane = startPlane(t, { log });
  const config: ProxyConfig = {
    ...emptyConfig(),
    inbound: { address: '127.0.0.1', port, services: [] },
    outbound: [{ ...listener('web', 'api'), port }],
  };
  for (let i = 0; i < 3; i++) await plane.apply(config);
  const status = () => plane.stats().listeners.find((each) => each.id === 'upstream/web/api');
  assert.equal(status()?.error, 'EADDRINUSE');
  const failed = (id: string): string => `error listener-failed ${id} EADDRINUSE`;
  assert.deepEqual(logged.splice(0).sort(), [failed('inbound'), failed('upstream/web/api')]);
  holder.close();
  await once(holder, 'close');
  const inbound = { ...config.inbound, port: 0 };
  for (let i = 0; i < 2; i++) await plane.apply({ ...config, inbound });
  assert.deepEqual(status(), { id: 'upstream/web/api', address: '127.0.0.1', port, error: null });
  assert.deepEqual(logged, ['info listener-recovered upstream/web/api null']);
  await plane.apply(emptyConfig());
  assert.equal(status(), undefined);
});
