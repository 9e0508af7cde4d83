/**
 * A mesh that has formed already, as if it had run for an hour: every host admitted, every service registered and
 * passing, every identity issued. Large runs begin with it, since forming a mesh takes far longer than what they
 * are to show. Each record is what the agent itself would have written, so that none adds to it at its start.
 */

import { Catalog } from '../../src/agent/catalog/catalog.ts';
import { Registry } from '../../src/agent/catalog/registry.ts';
import { createToken } from '../../src/agent/joining/tokens.ts';
import { ADMISSION, CHECK, type CheckValue, GRANT, HOST, type HostValue } from '../../src/agent/kinds.ts';
import {
  assert,
  byCodeUnit,
  ed25519Signer,
  encodeJson,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../../src/core.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { recordOp } from '../../src/gossip/replica/stored.ts';
import { createAdmission, createFounderAdmission } from '../../src/trust/admission/admission.ts';
import { createGenesis, type Genesis } from '../../src/trust/admission/genesis.ts';
import { type JoinToken, parseToken } from '../../src/trust/admission/token.ts';
import { leafFieldsOf } from '../../src/trust/issuance/issuance.ts';
import type { SavedIdentity } from '../../src/trust/issuance/svid.ts';
import { TrustState } from '../../src/trust/state.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../src/trust/x509/spiffe.ts';
import { assembleCertificate, buildLeafTbs, pemOf } from '../../src/trust/x509/x509.ts';
import { drawBytes, drawSigner } from './keys.ts';
import { drawServiceKey } from './p256.ts';
import { checkOutput, serviceDefinition } from './services.ts';

export const gossipPort = 7946;
export const inboundPort = 21_000;
export const svidTtlMs: number = 12 * 3_600_000;
export const datacenter = 'dc1';
const rootLifetimeMs = 365 * 24 * 3_600_000;
const tokenTtlMs = 3_600_000;
const tokenUsesMax = 10_000;
/** Versions of the first life; agents go on in their second. */
const firstVersion = 2 ** 32;

/** A host as the outside knows it. */
export interface Inhabitant {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  readonly signer: Signer;
  readonly services: readonly string[];
}

export interface PreparedMesh {
  readonly genesis: Genesis;
  readonly operator: Signer;
  readonly rootSigner: Signer;
  /** The key behind it: the founder's engine holds it too. */
  readonly rootSeed: Uint8Array;
  readonly token: JoinToken;
  /** What lies in every host's store, by key. */
  readonly entries: ReadonlyMap<string, Uint8Array>;
  /** By service: one key and certificate stand for all its instances, as their names are the same. */
  readonly identities: ReadonlyMap<string, SavedIdentity>;
}

/** What a host says of itself. */
export function hostValue({
  name,
  number,
  address,
}: Pick<Inhabitant, 'name' | 'number' | 'address'>): HostValue {
  return {
    name,
    datacenter,
    zone: `zone-${number % 3}`,
    address,
    gossipPort,
    inboundPort,
    version: 'simulated',
  };
}

/** Founds a mesh in the name of `founder`. */
export function drawGenesis(
  founder: { readonly name: string; readonly signer: Signer },
  random: Random,
  now: Millis,
  verify: Verify,
): Pick<PreparedMesh, 'genesis' | 'operator' | 'rootSigner' | 'rootSeed'> {
  const operator = drawSigner(random);
  const rootSeed = drawBytes(random, 32);
  const rootSigner = ed25519Signer(rootSeed);
  const genesis = createGenesis(
    {
      trustDomain: 'mesh.test',
      founderName: founder.name,
      defaultIntention: 'deny',
      createdAt: now,
      rootLifetimeMs,
    },
    { operator, founder: founder.signer, root: rootSigner },
    verify,
  );
  return { genesis, operator, rootSigner, rootSeed };
}

/** The mesh of `hosts`, the first of whom founded it. */
export function prepareMesh(
  hosts: readonly Inhabitant[],
  random: Random,
  now: Millis,
  verify: Verify,
): PreparedMesh {
  const founder = hosts[0];
  assert(founder !== undefined, 'a mesh has a founder');
  const founded = drawGenesis(founder, random, now, verify);
  const writer = new Writer(now);
  const token = prepareToken(founded, founder, hosts.length, random, writer);
  for (const host of hosts) prepareHost(host, founded.genesis, token, writer);
  const names = [...new Set(hosts.flatMap(({ services }) => services))].sort(byCodeUnit);
  const issue = issuerOf(founded.genesis, founded.rootSigner, random, now);
  return {
    ...founded,
    token,
    entries: writer.entries(),
    identities: new Map(names.map((service) => [service, issue(service)])),
  };
}

/** Signs records one after another. */
class Writer {
  private readonly now: Millis;
  private readonly written: Record[] = [];

  constructor(now: Millis) {
    this.now = now;
  }

  host(kind: string, key: string, value: object, signer: Signer): void {
    const version = firstVersion + this.written.length;
    const fields = {
      scope: 'host',
      kind,
      key,
      version,
      hlc: this.now * 1024,
      value: encodeJson(value),
    } as const;
    this.written.push(encodeRecord(fields, signer));
  }

  policy(kind: string, key: string, value: object, signer: Signer): void {
    const hlc = this.now * 1024 + this.written.length;
    const fields = { scope: 'policy', kind, key, version: hlc, hlc, value: encodeJson(value) } as const;
    this.written.push(encodeRecord(fields, signer));
  }

  entries(): ReadonlyMap<string, Uint8Array> {
    const sorted = this.written
      .map((record) => recordOp(record))
      .flatMap((op) => (op.type === 'put' ? [[op.key, op.value] as const] : []))
      .sort(([a], [b]) => byCodeUnit(a, b));
    return new Map(sorted);
  }

  get time(): Millis {
    return this.now;
  }
}

function prepareToken(
  { genesis, operator }: Pick<PreparedMesh, 'genesis' | 'operator'>,
  founder: Inhabitant,
  hosts: number,
  random: Random,
  writer: Writer,
): JoinToken {
  const uses = Math.min(tokenUsesMax, hosts * 4);
  const command = {
    type: 'create-token',
    services: [],
    roles: ['agent'],
    uses,
    ttlMs: tokenTtlMs,
    operator,
  } as const;
  const seeds = [{ address: founder.address, port: gossipPort, host: founder.signer.publicKey }];
  const trust = new TrustState(genesis, () => true);
  const { grant, value } = createToken(command, trust, seeds, drawBytes(random, 64), writer.time);
  assert(grant !== null, 'a token comes with a grant');
  writer.policy(GRANT, grant.id, grant, operator);
  return parseToken(value.token);
}

function prepareHost(host: Inhabitant, genesis: Genesis, token: JoinToken, writer: Writer): void {
  const { number, name, signer, services } = host;
  const request = {
    genesisHash: genesis.hash,
    name,
    host: signer.publicKey,
    grantId: token.grantId,
    admittedAt: writer.time,
  };
  const admission =
    number === 0 ? createFounderAdmission(genesis) : createAdmission(request, token.grantSigner());
  writer.host(ADMISSION, '', admission, signer);
  writer.host(HOST, '', hostValue(host), signer);
  const registry = new Registry(signer.publicKey, new Catalog());
  for (const service of services)
    for (const { kind, key, value } of registry.register(serviceDefinition(service)))
      writer.host(
        kind,
        key,
        kind === CHECK ? { ...(value as CheckValue), output: checkOutput } : value!,
        signer,
      );
}

/** Makes a key and a certificate for a service, as its agent and the founder would together. */
function issuerOf(
  genesis: Genesis,
  rootSigner: Signer,
  random: Random,
  now: Millis,
): (service: string) => SavedIdentity {
  return (service) => {
    const identity = { trustDomain: genesis.trustDomain, datacenter, service };
    const { csr, keyPem } = drawServiceKey(random, formatSpiffeId(identity), dnsNamesOf(identity));
    const issuedAt = Math.floor(now / 1000) * 1000;
    // The hosts of a service share one certificate, which has to name one of the mesh.
    const leaf = leafFieldsOf({ issuedAt, ttlMs: svidTtlMs }, parseCsr(csr), genesis.root, genesis.founder);
    const tbs = buildLeafTbs(leaf);
    return { service, certPem: pemOf(assembleCertificate(tbs, rootSigner.sign(tbs))), keyPem };
  };
}
