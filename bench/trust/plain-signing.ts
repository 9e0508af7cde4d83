/** The peer of an issuance: `openssl x509 -req` signs the same request with a key in a file, a process each time. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stage } from '../stage.ts';

export const plainSigning = 'openssl x509 -req, a process each';
const signaturesPerBatch = 10;

export class PlainAuthority {
  private readonly stage: Stage;
  private readonly requestFile: string;
  private readonly rootFile: string;
  private readonly keyFile: string;

  private constructor(stage: Stage) {
    this.stage = stage;
    this.requestFile = join(stage.directory, 'plain.csr');
    this.rootFile = join(stage.directory, 'plain.pem');
    this.keyFile = join(stage.directory, 'plain.key');
  }

  /** With an Ed25519 root, as the mesh's is. */
  static async found(stage: Stage): Promise<PlainAuthority> {
    const authority = new PlainAuthority(stage);
    await stage.run('openssl', [
      ...['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', '/CN=plain authority'],
      ...['-keyout', authority.keyFile, '-out', authority.rootFile],
    ]);
    return authority;
  }

  /** Signs one request several times; both figures are for one signature. */
  async sign(csrPem: string): Promise<{ readonly wallMs: number; readonly cpuMs: number }> {
    writeFileSync(this.requestFile, csrPem);
    const begin = performance.now();
    const printed = await this.stage.run('sh', [
      '-c',
      'n=$1; while [ $n -gt 0 ]; do openssl x509 -req -in "$2" -CA "$3" -CAkey "$4" -days 1 ' +
        '-copy_extensions copy -out "$2.crt" 2>/dev/null || exit 1; n=$((n-1)); done; times',
      ...['sh', String(signaturesPerBatch), this.requestFile, this.rootFile, this.keyFile],
    ]);
    const wallMs = performance.now() - begin;
    return {
      wallMs: wallMs / signaturesPerBatch,
      cpuMs: childCpuMs(printed) / signaturesPerBatch,
    };
  }
}

/** What `times` says of the shell's children: the second of its lines, user and system, as `0m0.123456s`. */
export function childCpuMs(printed: string): number {
  const fields = (printed.trim().split('\n').at(-1) ?? '').split(' ');
  return fields.reduce((sum, field) => {
    const match = /^(\d+)m([\d.]+)s$/.exec(field);
    if (match === null) throw new Error(`not a line of times: ${printed.slice(0, 100)}`);
    return sum + Number(match[1]) * 60_000 + Number(match[2]) * 1000;
  }, 0);
}
