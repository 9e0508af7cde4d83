/**
 * The data plane alone, without the agent around it: what the engine itself costs and holds. Reads its whole
 * configuration from the file it is given, says `ready`, and carries until SIGTERM.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { ProxyConfig } from '../../src/proxy/config.ts';
import { createDataPlane, type VerifyPeer } from '../../src/proxy/io/embedded.ts';

const config = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as ProxyConfig;

/** The chain was verified before; of the names in it this takes the one there is. */
const verifyPeer: VerifyPeer = (der) => {
  const certificate = new X509Certificate(der);
  const spiffeId = /URI:([^,]+)/.exec(certificate.subjectAltName ?? '')?.[1];
  if (spiffeId === undefined) return { problem: 'no id' };
  const service = spiffeId.slice(spiffeId.lastIndexOf('/') + 1);
  return { spiffeId, service, host: service, serial: certificate.serialNumber.toLowerCase() };
};

const plane = createDataPlane({
  now: () => performance.now(),
  random: { next: Math.random },
  verifyPeer,
  log: () => {},
});
await plane.apply(config);
for (const { id, error } of plane.stats().listeners) if (error !== null) throw new Error(`${id}: ${error}`);
process.on('SIGTERM', () => {
  plane.close(0).then(() => process.exit());
});
process.stdout.write('ready\n');
