/**
 * What `trust-root` records say, and who must have signed it. Whoever writes such a record, it proves itself:
 * a root by its own key and by that of the generation before, a turn in its life by the key of a root in force.
 */
import { ByteWriter, encodeJson, Fault, type HostId, type Millis, type Verify } from '../core.ts';
import { Fields } from './fields.ts';
import { type SignedStatement, trustRootKind } from './statement.ts';
import { certificatesOfPem } from './x509/certificate.ts';
import { isCertifiedBy, type Root, readRoot } from './x509/root.ts';
import type { RootName } from './x509/x509.ts';

/** A root's certificates; record key `g<generation>`. From generation 1 on: that of 0 is in the genesis. */
export interface RootCertificates {
  readonly generation: number;
  /** Self-signed. */
  readonly certPem: string;
  /**
   * The same key certified by the generation before, for whoever believes only that one; null where nobody was
   * left to sign it. Never the other way round: a stolen old key would then outlive its retirement.
   */
  readonly crossPem: string | null;
}

/** `active`: from now on it signs, and those before it no more. `retired`: believed no more. */
export type Turn = 'active' | 'retired';

/** A turn in a root's life; record key `g<generation>/<turn>`. */
export interface RootTurn {
  readonly generation: number;
  readonly turn: Turn;
  readonly at: Millis;
  /** The generation whose key signed it: the root's own where it becomes active, a later one where it retires. */
  readonly by: number;
  /** Over `turnStatement`, hex. */
  readonly signature: string;
}

export const maxGeneration = 10_000;
const turnTag = 'starling-root-turn-1\n';
const turns: readonly Turn[] = ['active', 'retired'];
const pemText = /^[\x20-\x7e\n]*$/;
const maxPemLength = 8192;
const keyPattern = /^g(0|[1-9]\d{0,4})(?:\/(active|retired))?$/;
const code = 'trust-root-malformed';

/**
 * How strongly a statement holds its slot, before anybody's clock is compared; see `Finality`. A root's
 * certificates that link it to the one before are not replaced by some that do not. 0 for everything else.
 */
export function rootFinality({ scope, kind, key, deleted, value }: SignedStatement): number {
  if (scope !== 'policy' || kind !== trustRootKind || deleted || key.includes('/')) return 0;
  try {
    return Fields.parse(value, code).has('crossPem') ? 2 : 1;
  } catch (error) {
    if (error instanceof Fault) return 0;
    throw error;
  }
}

export function rootKey(generation: number): string {
  return `g${generation}`;
}

export function turnKey(generation: number, turn: Turn): string {
  return `g${generation}/${turn}`;
}

/** Which root, and which turn of it, a record key is about. Throws `Fault('trust-root-malformed')`. */
export function parseRootKey(key: string): { readonly generation: number; readonly turn: Turn | null } {
  const [, generation, turn] = keyPattern.exec(key) ?? [];
  if (generation === undefined || Number(generation) > maxGeneration)
    throw new Fault(code, 'the key names no root', { field: 'key' });
  return { generation: Number(generation), turn: (turn as Turn | undefined) ?? null };
}

/** What a root key signs to turn a root; begins with ASCII, so it is never a certificate. */
export function turnStatement(mesh: string, turn: Omit<RootTurn, 'signature'>): Uint8Array {
  const content = new ByteWriter().hex(mesh).varint(turn.generation).u8(turns.indexOf(turn.turn));
  content.varint(turn.at).varint(turn.by);
  return Buffer.concat([Buffer.from(turnTag), content.done()]);
}

export function encodeRootCertificates(value: RootCertificates): Uint8Array {
  return encodeJson(value);
}

export function encodeRootTurn(value: RootTurn): Uint8Array {
  return encodeJson(value);
}

/** A root that was checked, with the certificate that links it to the one before, if there is one. */
export interface LinkedRoot extends Root {
  readonly crossDer: Buffer | null;
}

/**
 * Reads a root's certificates and checks each against the keys that it must be of. Throws `Fault`:
 * `trust-root-malformed`, `trust-root-forged`.
 */
export function readRootCertificates(
  value: Uint8Array,
  name: RootName,
  before: RootName,
  verify: Verify,
): LinkedRoot {
  const fields = Fields.parse(value, code);
  const der = (field: string): Buffer =>
    readMalformed(() => certificatesOfPem(fields.text(field, pemText, maxPemLength))[0]!);
  const certDer = der('certPem');
  const root = readMalformed(() => readRoot(certDer, name.trustDomain, name.generation, verify));
  const crossDer = fields.has('crossPem') ? der('crossPem') : null;
  if (root.publicKey !== name.publicKey)
    throw new Fault('trust-root-forged', `the key is not that of root g${name.generation}`);
  if (crossDer !== null && !isCertifiedBy(crossDer, name, before, verify))
    throw new Fault(
      'trust-root-forged',
      `root g${before.generation} did not certify root g${name.generation}`,
    );
  return { ...root, crossDer };
}

function readMalformed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(code, error.message, { cause: error });
  }
}

/**
 * Reads a turn and checks its signature against the key that `keyOf` gives for its signer's generation;
 * undefined there means that the key is not known yet. Throws `Fault`: `trust-root-malformed`,
 * `trust-root-forged`, `trust-root-unproven`.
 */
export function readRootTurn(
  value: Uint8Array,
  expected: { readonly generation: number; readonly turn: Turn },
  mesh: string,
  keyOf: (generation: number) => HostId | undefined,
  verify: Verify,
): RootTurn {
  const fields = Fields.parse(value, code);
  const { generation, turn } = expected;
  const by = fields.integer('by', 0, maxGeneration);
  const read: RootTurn = {
    generation,
    turn,
    at: fields.time('at'),
    by,
    signature: fields.hex('signature', 64),
  };
  if (turn === 'active' ? by !== generation : by <= generation)
    throw new Fault('trust-root-forged', 'a root is turned by itself, or put away by a later one');
  const signer = keyOf(by);
  if (signer === undefined) throw new Fault('trust-root-unproven', `root g${by} is not known here yet`);
  if (!verify(signer, turnStatement(mesh, read), Buffer.from(read.signature, 'hex')))
    throw new Fault('trust-root-forged', `root g${by} did not sign this`);
  return read;
}
