/** What mutual TLS 1.3 handshakes cost with certificates of a quorum, beside those of a plain P-256 authority. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect, createSecureContext, type SecureContext } from 'node:tls';
import { cpuMicroseconds } from '../processes.ts';
import type { Row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { type Chain, makePlainChain, makeQuorumChain, serverName } from './chains.ts';
import { Tally } from './tally.ts';

const lanes = 8;
const handshakesPerTurn = 200;
const turnsPerRound = 5;
const warmUpTurns = 2;

interface Turn {
  readonly perSecond: number;
  readonly serverCpuMs: number;
  readonly clientCpuMs: number;
}

export async function measureHandshakes(
  stage: Stage,
  rounds: number,
  say: (text: string) => void,
): Promise<Row[]> {
  const chains = [await makeQuorumChain(stage), await makePlainChain(stage)] as const;
  const server = stage.start(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, 'handshake-server.ts'),
    ...chains.map(({ leafFile }) => dirname(leafFile)),
  ]);
  const ports = (await server.line('ports ', 20_000)).split(' ').slice(1).map(Number);
  const contexts = chains.map(contextOf);
  const take = (which: number): Promise<Turn> => takeTurn(contexts[which]!, ports[which]!, server.pid);
  for (let turn = 0; turn < 2 * warmUpTurns; turn++) await take(turn % 2);
  const tally = new Tally();
  for (let turn = 0; turn < rounds * turnsPerRound; turn++) {
    const first = turn % 2;
    const turns: Turn[] = [];
    for (const which of [first, 1 - first]) turns[which] = await take(which);
    compare(tally, turns[0]!, turns[1]!, chains[1].name);
  }
  say(`${rounds * turnsPerRound * handshakesPerTurn} handshakes with each of two chains`);
  return tally.rows();
}

function contextOf({ rootFile, leafFile }: Chain): SecureContext {
  const leaf = readFileSync(leafFile);
  return createSecureContext({ ca: readFileSync(rootFile), cert: leaf, key: leaf, minVersion: 'TLSv1.3' });
}

function compare(tally: Tally, mine: Turn, plain: Turn, peer: string): void {
  const add = (metric: string, unit: string, value: number, peerValue: number): void =>
    tally.add({ metric, unit, value, peer, peerValue });
  add('handshake-server-cpu', 'ms CPU', mine.serverCpuMs, plain.serverCpuMs);
  add('handshake-client-cpu', 'ms CPU', mine.clientCpuMs, plain.clientCpuMs);
  add('handshakes', '/s', mine.perSecond, plain.perSecond);
}

/** Several clients at once in this process, each with one handshake after the other and no session kept. */
async function takeTurn(secureContext: SecureContext, port: number, serverPid: number): Promise<Turn> {
  const serverBefore = cpuMicroseconds([serverPid]);
  const clientBefore = process.cpuUsage();
  const begin = performance.now();
  const shake = async (): Promise<void> => {
    for (let i = 0; i < handshakesPerTurn / lanes; i++) await handshake(secureContext, port);
  };
  await Promise.all(Array.from({ length: lanes }, shake));
  const tookMs = performance.now() - begin;
  const { user, system } = process.cpuUsage(clientBefore);
  return {
    perSecond: (handshakesPerTurn / tookMs) * 1000,
    serverCpuMs: (cpuMicroseconds([serverPid]) - serverBefore) / 1000 / handshakesPerTurn,
    clientCpuMs: (user + system) / 1000 / handshakesPerTurn,
  };
}

/** Resolves once the server has taken the client's certificate and hung up; rejects when either is refused. */
function handshake(secureContext: SecureContext, port: number): Promise<void> {
  return new Promise((done, fail) => {
    let accepted = false;
    const socket = connect({ host: '127.0.0.1', port, servername: serverName, secureContext });
    socket.setTimeout(20_000, () => socket.destroy(new Error('no handshake within 20 s')));
    socket.once('data', () => {
      accepted = socket.authorized && socket.getProtocol() === 'TLSv1.3';
    });
    socket.once('error', fail);
    socket.once('close', () => (accepted ? done() : fail(new Error('the server hung up in the handshake'))));
  });
}
