/** What the peers prove who they are with: an authority and one certificate for each side, made by `openssl`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stage } from '../stage.ts';

/** The name in the server's certificate, which its clients check as Starling's check the SPIFFE ID. */
export const serverName = 'bench.internal';

/** The one cipher everybody uses: the cheapest where the processor knows AES, as Starling prefers it. */
export const cipherSuite = 'TLS_AES_128_GCM_SHA256';

export interface Certificates {
  readonly authority: string;
  /** Of the proxy beside the client, and of the one beside the application: paths of PEM files. */
  readonly outbound: Pair;
  readonly inbound: Pair;
}

export interface Pair {
  readonly certificate: string;
  readonly key: string;
  /** Both in one file, as HAProxy wants them. */
  readonly both: string;
}

/** P-256, as the mesh's own. */
export async function makeCertificates(stage: Stage): Promise<Certificates> {
  const folder = join(stage.directory, 'certificates');
  mkdirSync(folder, { mode: 0o700 });
  const file = (name: string): string => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const request = (name: string, ...rest: string[]): Promise<string> =>
    stage.run('openssl', [
      ...['req', '-x509', ...newKey, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)],
      ...rest,
    ]);
  await request('ca', '-subj', '/CN=bench authority');
  const pair = async (side: string, name: string): Promise<Pair> => {
    await request(
      side,
      ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`],
      ...['-addext', 'basicConstraints=critical,CA:FALSE'],
      ...['-CA', file('ca.crt'), '-CAkey', file('ca.key')],
    );
    const [certificate, key, both] = [file(`${side}.crt`), file(`${side}.key`), file(`${side}.pem`)];
    writeFileSync(both, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 });
    return { certificate, key, both };
  };
  const inbound = await pair('inbound', serverName);
  const outbound = await pair('outbound', 'client.internal');
  return { authority: file('ca.crt'), inbound, outbound };
}
