/** Everybody who is compared, each started on addresses of its own. */
import type { Stage } from '../stage.ts';
import { startCaddy } from './caddy.ts';
import type { Certificates } from './certificates.ts';
import { startHaproxy } from './haproxy.ts';
import { startNginx } from './nginx.ts';
import { startNodeHttp2 } from './node-http2.ts';
import { type PeerName, peerNames } from './peer-names.ts';
import { startPlanes } from './plane.ts';
import { far, near, starling, starlingOfThree, starlingOfTwo, startStarling } from './starling.ts';
import type { Subject, Way } from './subject.ts';

type Say = (text: string) => void;

const starters: {
  readonly [name in PeerName]: (
    stage: Stage,
    certificates: Certificates,
    way: Way,
    say: Say,
  ) => Promise<Subject>;
} = {
  'starling-plane': (stage, _, way, say) => startPlanes(stage, way, say),
  'starling-2': (stage, _, way, say) => startStarling(stage, starlingOfTwo, way, say),
  'starling-3': (stage, _, way, say) => startStarling(stage, starlingOfThree, way, say),
  'haproxy-h2': (stage, certificates, way) => startHaproxy(stage, certificates, way, 'h2'),
  'haproxy-h1': (stage, certificates, way) => startHaproxy(stage, certificates, way, 'http/1.1'),
  nginx: startNginx,
  caddy: startCaddy,
  'node-http2': startNodeHttp2,
};

/** Starling, the direct way, and the chosen peers. */
export async function startSubjects(
  stage: Stage,
  certificates: Certificates,
  chosen: readonly PeerName[],
  say: Say,
): Promise<Subject[]> {
  const direct: Subject = { name: 'direct', endpoints: wayTo(0).application, proxies: [] };
  const subjects = [await startStarling(stage, starling, wayTo(0), say), direct];
  for (const [index, name] of peerNames.entries())
    if (chosen.includes(name))
      subjects.push(await starters[name](stage, certificates, wayTo(index + 1), say));
  return subjects;
}

/** Addresses of the subject with this number; the applications are the same for all. */
export function wayTo(index: number): Way {
  const addresses = (host: number, port: number) => ({
    http: `127.0.1.${host}:${port}`,
    grpc: `127.0.1.${host}:${port + 1}`,
    tcp: `127.0.1.${host}:${port + 2}`,
  });
  return {
    client: addresses(near, 9100 + 10 * index),
    inbound: addresses(far, 9400 + 10 * index),
    application: addresses(far, 9001),
  };
}
