/**
 * Writes the certificates of profile 2 (RFC 5280; X.509-SVID). The bytes to be signed are a function of the
 * request alone: every trustee rebuilds them and signs only its own rebuild, so what is written here may
 * never change under one profile number.
 */
import { createHash } from 'node:crypto';
import { assert, type HostId, isHex, type Millis } from '../../core.ts';
import {
  type Asn1,
  bitString,
  booleanTrue,
  context,
  embed,
  encode,
  objectIdentifier,
  octetString,
  readDer,
  sequence,
  set,
  tags,
  time,
  unsignedInteger,
  utf8String,
} from './der.ts';
import { trustDomainId } from './spiffe.ts';

/** The layout of certificates that this version writes: since 2, a leaf names the host it was issued to. */
export const certificateProfile = 2;

export const oids = {
  ed25519: '1.3.101.112',
  organization: '2.5.4.10',
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  subjectAltName: '2.5.29.17',
  subjectKeyId: '2.5.29.14',
  authorityKeyId: '2.5.29.35',
} as const;

/** Bits of KeyUsage (RFC 5280, section 4.2.1.3). */
export const keyUsageBits = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

/** One root of the trust bundle: what names it, and its Ed25519 key (hex). */
export interface RootName {
  readonly trustDomain: string;
  readonly generation: number;
  readonly publicKey: HostId;
}

export interface LeafFields {
  readonly issuer: RootName;
  /** Whose service it is: the host that asked for it, and that proved to be this one. */
  readonly host: HostId;
  /** The service's P-256 key, a DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  /** Whole seconds both. */
  readonly notBefore: Millis;
  readonly notAfter: Millis;
}

export interface RootFields {
  /** Equal to `subject` in a self-signed certificate; another root in a cross-signed one. */
  readonly issuer: RootName;
  readonly subject: RootName;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
}

/** DER SubjectPublicKeyInfo of an Ed25519 key (RFC 8410, section 4). */
export function ed25519Spki(publicKey: HostId): Buffer {
  return Buffer.from(`302a300506032b6570032100${publicKey}`, 'hex');
}

/** RFC 7093, method 1: the first 160 bits of SHA-256 over the key bits. */
export function keyIdentifier(spki: Uint8Array): Buffer {
  const fields = readDer(spki, 1024).inside(tags.sequence);
  fields.next();
  return createHash('sha256').update(fields.next().bits()).digest().subarray(0, 20);
}

/** The same request gives the same serial, so a replayed one gives nothing new. 152 bits, positive. */
export function serialNumber(
  issuerSpki: Uint8Array,
  subjectSpki: Uint8Array,
  id: string,
  notBefore: Millis,
): Buffer {
  const hash = createHash('sha256')
    .update('starling-serial-1\0')
    .update(keyIdentifier(issuerSpki))
    .update(createHash('sha256').update(subjectSpki).digest())
    .update(`${id}\0${notBefore}`)
    .digest()
    .subarray(0, 19);
  // The top bits are fixed so that the encoding always has 19 bytes.
  hash[0] = (hash[0]! & 0x7f) | 0x40;
  return hash;
}

function attribute(oid: string, text: string): Asn1 {
  return set(sequence(objectIdentifier(oid), utf8String(text)));
}

function distinguishedName(root: RootName): Asn1 {
  return sequence(
    attribute(oids.organization, root.trustDomain),
    attribute(oids.commonName, `Starling root g${root.generation}`),
  );
}

/** The distinguished name of a root, DER. */
export function rootSubject(root: RootName): Buffer {
  return encode(distinguishedName(root));
}

/**
 * The name of a leaf's subject: the host, whose id has just the 64 characters that a common name may have. Who
 * refuses a host refuses by it all that was ever issued to that host, and needs no list of what that was.
 */
function hostName(host: HostId): Asn1 {
  return sequence(attribute(oids.commonName, host));
}

const hostIdLength = 64;
const hostNameHead = encode(hostName('0'.repeat(hostIdLength))).subarray(0, -hostIdLength);

/** The host that a subject, DER, names as leaves do; null for any other name. */
export function hostOfSubject(subject: Buffer): HostId | null {
  if (subject.length !== hostNameHead.length + hostIdLength) return null;
  if (!subject.subarray(0, hostNameHead.length).equals(hostNameHead)) return null;
  const host = subject.subarray(hostNameHead.length).toString('latin1');
  return isHex(host, 32) ? host : null;
}

function extension(oid: string, critical: boolean, value: Asn1): Asn1 {
  return sequence(objectIdentifier(oid), ...(critical ? [booleanTrue()] : []), octetString(encode(value)));
}

/** GeneralNames: the URI first, then DNS names, in the order given. */
export function subjectAltName(uri: string, dnsNames: readonly string[]): Asn1 {
  return sequence(
    context(6, Buffer.from(uri, 'latin1')),
    ...dnsNames.map((name) => context(2, Buffer.from(name, 'latin1'))),
  );
}

function keyIdentifiers(subjectSpki: Uint8Array, issuerSpki: Uint8Array): Asn1[] {
  return [
    extension(oids.subjectKeyId, false, octetString(keyIdentifier(subjectSpki))),
    extension(oids.authorityKeyId, false, sequence(context(0, keyIdentifier(issuerSpki)))),
  ];
}

interface TbsFields {
  readonly issuer: RootName;
  readonly subject: Asn1;
  readonly spki: Uint8Array;
  readonly id: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  readonly extensions: Asn1[];
}

function buildTbs(fields: TbsFields): Buffer {
  assert(
    fields.notBefore % 1000 === 0 && fields.notAfter % 1000 === 0,
    'certificate times are whole seconds',
  );
  const issuerSpki = ed25519Spki(fields.issuer.publicKey);
  const version3 = context(0, [unsignedInteger(Buffer.of(2))]);
  return encode(
    sequence(
      version3,
      unsignedInteger(serialNumber(issuerSpki, fields.spki, fields.id, fields.notBefore)),
      sequence(objectIdentifier(oids.ed25519)),
      distinguishedName(fields.issuer),
      sequence(time(fields.notBefore), time(fields.notAfter)),
      fields.subject,
      embed(fields.spki),
      context(3, [sequence(...fields.extensions)]),
    ),
  );
}

/** What a leaf's serial number stands for: two hosts that ask alike get two. */
export function leafId({ host, spiffeId }: Pick<LeafFields, 'host' | 'spiffeId'>): string {
  return `${spiffeId}\0${host}`;
}

/** The bytes to sign for a service's certificate. `spki` must have been checked to be canonical DER. */
export function buildLeafTbs(leaf: LeafFields): Buffer {
  return buildTbs({
    issuer: leaf.issuer,
    subject: hostName(leaf.host),
    spki: leaf.spki,
    id: leafId(leaf),
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    extensions: [
      extension(oids.basicConstraints, true, sequence()),
      extension(oids.keyUsage, true, bitString(Buffer.of(0x80), 7)),
      extension(
        oids.extendedKeyUsage,
        false,
        sequence(objectIdentifier(oids.serverAuth), objectIdentifier(oids.clientAuth)),
      ),
      extension(oids.subjectAltName, false, subjectAltName(leaf.spiffeId, leaf.dnsNames)),
      ...keyIdentifiers(leaf.spki, ed25519Spki(leaf.issuer.publicKey)),
    ],
  });
}

/** The bytes to sign for a root: by itself (one more root may follow in a chain), or by another root. */
export function buildRootTbs(root: RootFields): Buffer {
  const spki = ed25519Spki(root.subject.publicKey);
  const selfSigned = root.issuer.publicKey === root.subject.publicKey;
  const pathLength = unsignedInteger(Buffer.of(selfSigned ? 1 : 0));
  const id = trustDomainId(root.subject.trustDomain);
  return buildTbs({
    issuer: root.issuer,
    subject: distinguishedName(root.subject),
    spki,
    id,
    notBefore: root.notBefore,
    notAfter: root.notAfter,
    extensions: [
      extension(oids.basicConstraints, true, sequence(booleanTrue(), pathLength)),
      // keyCertSign and cRLSign.
      extension(oids.keyUsage, true, bitString(Buffer.of(0x06), 1)),
      extension(oids.subjectAltName, false, subjectAltName(id, [])),
      ...keyIdentifiers(spki, ed25519Spki(root.issuer.publicKey)),
    ],
  });
}

/** The certificate: what was signed, and the Ed25519 signature over it. */
export function assembleCertificate(tbs: Uint8Array, signature: Uint8Array): Buffer {
  return encode(sequence(embed(tbs), sequence(objectIdentifier(oids.ed25519)), bitString(signature)));
}

/** PEM (RFC 7468). */
export function pemOf(der: Uint8Array, label = 'CERTIFICATE'): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
