/** What the end-to-end tests of roots share: hosts that become trustees quickly, and what each says of its roots. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Bird, type BirdOptions, type Flock, until } from '../../demo/flock.ts';
import { Load, type LoadReport } from '../../demo/load.ts';
import type { CaStatus } from '../../src/agent/ca/ca-port.ts';
import { rootSeedFile } from '../../src/trust/io/keys.ts';
import { apiPort, curl, register, startService, upstreamPort } from './mesh.ts';
import { MutualLoad } from './mutual-tls.ts';

/** Certificates of two minutes are renewed within ten seconds of a change of roots, those of twelve hours in sixty. */
export const quickTrustees: readonly string[] = [
  ...['--trustee-settle', '2s', '--trustee-absence', '4s', '--svid-ttl', '2m'],
];

/** Options of `count` hosts from 127.0.1.`first` on, named `h<n>`. */
export function hostsFrom(
  first: number,
  count: number,
  extra: readonly string[] = quickTrustees,
): BirdOptions[] {
  return Array.from({ length: count }, (_, i) => ({ n: first + i, name: `h${first + i}`, extra }));
}

/** A test whose failure shows what every agent logged since its last start. */
export function scene(name: string, flock: () => Flock, body: (t: TestContext) => Promise<void>): void {
  test(name, async (t) => {
    try {
      await body(t);
    } catch (error) {
      for (const { name: host, program } of flock().birds)
        console.error(
          `--- ${host} (${program?.running ? 'running' : 'ended'})\n${program?.stderr.slice(-8000)}`,
        );
      throw error;
    }
  });
}

/** Has a host join through the founder. */
export async function joinWith(flock: Flock, options: BirdOptions, token: string): Promise<Bird> {
  const bird = flock.bird(options);
  await bird.start('--join', flock.birds[0]!.address, '--token', token);
  return bird;
}

export function caOf(bird: Bird): Promise<CaStatus> {
  return bird.get<CaStatus>('/v1/mesh/ca');
}

/** Generations of the roots that a host's proxy is to believe, the active one marked: `g0 g1*`. */
export async function believedBy(bird: Bird): Promise<string> {
  const { ActiveRootID, Roots } = await bird.get<{ ActiveRootID: string; Roots: { ID: string }[] }>(
    '/v1/connect/ca/roots',
  );
  return Roots.map(({ ID }) => (ID === ActiveRootID ? `${ID}*` : ID)).join(' ');
}

/** Resolves, with the milliseconds it took, once all of them believe exactly this; see `believedBy`. */
export function untilBelieved(birds: readonly Bird[], roots: RegExp, withinMs: number): Promise<number> {
  return until(`roots ${roots} on ${birds.map(({ name }) => name).join(', ')}`, withinMs, async () => {
    const believed = await Promise.all(birds.map(believedBy));
    return believed.every((one) => roots.test(one));
  });
}

/** Whether a host still has the genesis root's key. */
export function hasGenesisKey(bird: Bird): boolean {
  return existsSync(join(bird.dataDir, rootSeedFile));
}

/** A root that is let go is forgotten at once; its share is overwritten on disk a moment later. */
export async function untilOneShareEach(birds: readonly Bird[]): Promise<void> {
  for (const bird of birds)
    await until(`one share is left on ${bird.name}`, 20_000, async () => shareFiles(bird) === 1);
}

/** How many shares of root keys a host's disk holds. */
export function shareFiles(bird: Bird): number {
  const folder = join(bird.dataDir, 'shares');
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.share')).length : 0;
}

/** The certificates and the key of a service, as its host keeps them. */
export function identityOf(
  bird: Bird,
  service: string,
): { readonly certPem: string; readonly keyPem: string } {
  const content = readFileSync(join(bird.dataDir, 'identities', `${service}.identity.pem`), 'utf8');
  const cut = content.indexOf('-----BEGIN PRIVATE KEY-----');
  return { certPem: content.slice(0, cut), keyPem: content.slice(cut) };
}

/** The same, as its host gives them to the service's own user through the API. */
export async function leafOf(
  bird: Bird,
  service: string,
): Promise<{ readonly certPem: string; readonly keyPem: string }> {
  const path = `/v1/agent/connect/ca/leaf/${service}`;
  const { CertPEM, PrivateKeyPEM } = await bird.get<{ CertPEM: string; PrivateKeyPEM: string }>(path);
  return { certPem: CertPEM, keyPem: PrivateKeyPEM };
}

/** Why a service of a host has no certificate, or no new one; null when all is well; undefined without it. */
export async function identityProblem(bird: Bird, service: string): Promise<string | null | undefined> {
  const { identities } = await caOf(bird);
  return identities.find((identity) => identity.service === service)?.problem;
}

/** Registers a service that nobody had before; resolves with how long its certificate took. */
export async function certify(flock: Flock, bird: Bird, service: string, withinMs = 60_000): Promise<number> {
  await register(flock, bird, { name: service, address: bird.address, port: 9009 });
  return until(`${service} on ${bird.name} has a certificate`, withinMs, async () => {
    return (await identityProblem(bird, service)) === null;
  });
}

/** `api` without a check: what a busy machine makes of one is not what these tests are about. */
export async function serveApi(flock: Flock, bird: Bird): Promise<void> {
  await startService(flock, 'api', `${bird.address}:${apiPort}`);
  await register(flock, bird, { name: 'api', address: bird.address, port: apiPort });
}

export async function untilReachable(web: Bird, withinMs = 30_000): Promise<void> {
  await until('web reaches api', withinMs, async () => {
    return (await curl(`http://${web.address}:${upstreamPort}/`)).status === 200;
  });
}

export interface SteadyReport {
  readonly keepAlive: LoadReport;
  readonly fresh: LoadReport;
  /** Calls with a TLS handshake of their own, by one who follows the roots through the API. */
  readonly mutual: { readonly sent: number; readonly failures: readonly string[] };
}

/** `web`'s calls to `api`: over kept connections, over new ones, and as an application that speaks TLS itself. */
export class SteadyLoad {
  private readonly keepAlive: Load;
  private readonly fresh: Load;
  private readonly mutual: MutualLoad;

  constructor(web: Bird, targets: () => readonly Bird[], pauseMs = 10) {
    const url = `http://${web.address}:${upstreamPort}/`;
    this.keepAlive = new Load(url, 4, pauseMs);
    this.fresh = new Load(url, 2, pauseMs, { connection: 'close' });
    this.mutual = new MutualLoad(web, 'web', 'api', targets, 10 * pauseMs);
  }

  async stop(): Promise<SteadyReport> {
    const [keepAlive, fresh, mutual] = await Promise.all([
      this.keepAlive.stop(),
      this.fresh.stop(),
      this.mutual.stop(),
    ]);
    return { keepAlive, fresh, mutual };
  }
}

export function failedOf({ keepAlive, fresh, mutual }: SteadyReport): number {
  return keepAlive.failed + fresh.failed + mutual.failures.length;
}

/** For a test's diagnostics: `1234 + 567 + 89 requests, 0 failed`. */
export function tell(report: SteadyReport): string {
  const { keepAlive, fresh, mutual } = report;
  const reasons = [keepAlive.reasons, fresh.reasons, mutual.failures].map((one) => JSON.stringify(one));
  return (
    `${keepAlive.sent} requests over kept connections, ${fresh.sent} over new ones, ${mutual.sent} with a ` +
    `handshake of their own; ${failedOf(report)} failed (${reasons.join(' ')}); ` +
    `p50 ${keepAlive.p50.toFixed(1)} ms, p99 ${keepAlive.p99.toFixed(1)} ms`
  );
}
