/** A founded mesh with every key at hand, for the tests of trust. All keys derive from small numbers. */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { ed25519Signer, ed25519Verify, type HostId, type Millis, type Signer } from '../../../src/core.ts';
import {
  type AdmissionRequest,
  createAdmission,
  createFounderAdmission,
  encodeAdmission,
} from '../../../src/trust/admission/admission.ts';
import { createGenesis, type Genesis } from '../../../src/trust/admission/genesis.ts';
import {
  createGrant,
  encodeGrant,
  type GrantTerms,
  type GrantValue,
} from '../../../src/trust/admission/grant.ts';
import {
  encodeRootCertificates,
  encodeRootTurn,
  rootKey,
  type Turn,
  turnKey,
  turnStatement,
} from '../../../src/trust/root-record.ts';
import { TrustState } from '../../../src/trust/state.ts';
import type { SignedStatement } from '../../../src/trust/statement.ts';
import { certifyRoot, createRootCertificate } from '../../../src/trust/x509/root.ts';
import { pemOf } from '../../../src/trust/x509/x509.ts';

export const startedAt: Millis = Date.UTC(2026, 0, 15, 12, 0, 0);
export const hour = 3_600_000;
export const trustDomain = 'mesh.example';

export function seedOf(label: string): Uint8Array {
  return createHash('sha256').update(label).digest();
}

export function signerOf(label: string): Signer {
  return ed25519Signer(seedOf(label));
}

export const operator: Signer = signerOf('operator');
export const founder: Signer = signerOf('founder');
export const rootSigner: Signer = signerOf('root');

export const genesis: Genesis = createGenesis(
  {
    trustDomain,
    founderName: 'first',
    defaultIntention: 'deny',
    createdAt: startedAt,
    rootLifetimeMs: 3650 * 24 * hour,
  },
  { operator, founder, root: rootSigner },
  ed25519Verify,
);

export function hlcOf(at: Millis): number {
  return at * 1024;
}

/** A statement of either scope with what the test is not about filled in. */
export function statement(
  parts: Partial<SignedStatement> & Pick<SignedStatement, 'kind' | 'author'>,
): SignedStatement {
  return {
    scope: 'host',
    key: '',
    hlc: hlcOf(startedAt + hour),
    deleted: false,
    value: new Uint8Array(),
    ...parts,
  };
}

export function grantStatement(grant: GrantValue, author: HostId = operator.publicKey): SignedStatement {
  return statement({ scope: 'policy', kind: 'grant', key: grant.id, author, value: encodeGrant(grant) });
}

export function makeGrant(label: string, terms: Partial<GrantTerms> = {}): GrantValue {
  return createGrant({
    publicKey: signerOf(label).publicKey,
    services: [],
    roles: ['agent'],
    uses: 1,
    createdAt: startedAt,
    expiresAt: startedAt + hour,
    operatorKey: null,
    ...terms,
  });
}

/** An admission statement of `host` by the grant whose secret has the label `label`. */
export function admissionStatement(
  host: Signer,
  label: string,
  grant: GrantValue,
  parts: Partial<AdmissionRequest> = {},
): SignedStatement {
  const request: AdmissionRequest = {
    genesisHash: genesis.hash,
    name: 'second',
    host: host.publicKey,
    grantId: grant.id,
    admittedAt: startedAt + 1000,
    ...parts,
  };
  const value = encodeAdmission(createAdmission(request, signerOf(label)));
  return statement({ kind: 'admission', author: host.publicKey, value });
}

export const founderStatement: SignedStatement = statement({
  kind: 'admission',
  author: founder.publicKey,
  value: encodeAdmission(createFounderAdmission(genesis)),
});

/** The key of a later root; whole here, as no quorum has it. */
export const nextRootSigner: Signer = signerOf('next root');

/** Root g1 as its quorum publishes it: certified by the genesis root. */
export function nextRootStatement(author: Signer = founder): SignedStatement {
  const next = { trustDomain, generation: 1, publicKey: nextRootSigner.publicKey };
  const value = encodeRootCertificates({
    generation: 1,
    certPem: pemOf(createRootCertificate(trustDomain, 1, nextRootSigner, startedAt, 1000 * hour)),
    crossPem: pemOf(certifyRoot(genesis.root, next, rootSigner, startedAt, 100 * hour)),
  });
  return statement({
    scope: 'policy',
    kind: 'trust-root',
    key: rootKey(1),
    author: author.publicKey,
    value,
  });
}

/** A turn of a root's life, signed by g1. */
export function turnOfRoot(generation: number, turn: Turn, signer: Signer = nextRootSigner): SignedStatement {
  const said = { generation, turn, at: startedAt, by: 1 };
  const signature = Buffer.from(signer.sign(turnStatement(genesis.hash, said))).toString('hex');
  const value = encodeRootTurn({ ...said, signature });
  const key = turnKey(generation, turn);
  return statement({ scope: 'policy', kind: 'trust-root', key, author: founder.publicKey, value });
}

/** What the chain of epochs has proven once the first quorum has made g1. */
export const nextRootKeys: ReadonlyMap<number, HostId> = new Map([
  [0, rootSigner.publicKey],
  [1, nextRootSigner.publicKey],
]);

/** The state of a mesh with its founder. */
export function foundedState(): TrustState {
  const state = new TrustState(genesis, ed25519Verify);
  state.apply(founderStatement);
  return state;
}

export function p256(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** The code of the Fault that `act` throws; anything else thrown goes through. */
export function faultCode(act: () => unknown): string | null {
  try {
    act();
    return null;
  } catch (error) {
    if (error instanceof Error && error.name === 'Fault' && 'code' in error) return String(error.code);
    throw error;
  }
}
