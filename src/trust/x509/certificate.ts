/**
 * Reads certificates from DER ourselves, because TLS libraries accept what a mesh must not: Node takes
 * client certificates with two URI names, with CA:TRUE, with no names and with no key usage.
 */
import { Fault, type HostId, type Millis } from '../../core.ts';
import { contextTag, type DerCursor, type DerNode, oidHex, readDer, tags } from './der.ts';
import { oids } from './x509.ts';

/** A certificate has about 600 bytes. */
export const maxCertificateBytes = 4096;

export interface AltNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** How many names of any other type there are. */
  readonly others: number;
}

export interface ParsedCertificate {
  /** The signed part, DER. */
  readonly tbs: Buffer;
  readonly signature: Buffer;
  /** Distinguished names, DER. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Hex. */
  readonly serial: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  readonly spki: Buffer;
  readonly altNames: AltNames | null;
  readonly isAuthority: boolean;
  /** Bit numbers; null without the extension. */
  readonly keyUsage: readonly number[] | null;
  /** Object identifiers as hex of their content; null without the extension. */
  readonly extendedKeyUsage: readonly string[] | null;
  /** Whether an extension that this reader does not know is marked critical. */
  readonly unknownCritical: boolean;
}

/** GeneralNames (RFC 5280, section 4.2.1.6). URIs and DNS names must be visible ASCII. */
export function readAltNames(names: DerNode): AltNames {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  let others = 0;
  const text = (node: DerNode): string => {
    const value = node.content(node.tag).toString('latin1');
    if (!/^[\x21-\x7e]+$/.test(value)) throw new Fault('malformed', 'a name is not visible ASCII');
    return value;
  };
  const cursor = names.inside(tags.sequence);
  while (cursor.more) {
    const name = cursor.next();
    if (name.tag === contextTag(6)) uris.push(text(name));
    else if (name.tag === contextTag(2)) dnsNames.push(text(name));
    else others++;
  }
  return { uris, dnsNames, others };
}

/** One extension: its identifier (hex), whether it is critical, and its value. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

/** At most this many extensions are read; the profile has six. */
const maxExtensions = 16;

/** Extensions ::= SEQUENCE OF Extension; a repeated one is refused (RFC 5280, section 4.2). */
export function readExtensions(list: DerCursor): Extension[] {
  const extensions: Extension[] = [];
  while (list.more) {
    const fields = list.next().inside(tags.sequence);
    const oid = fields.next().oid();
    const critical = fields.optional(tags.boolean)?.boolean() ?? false;
    const value = fields.next().content(tags.octetString);
    fields.end();
    if (extensions.some((other) => other.oid === oid))
      throw new Fault('malformed', 'an extension occurs twice');
    if (extensions.length >= maxExtensions) throw new Fault('malformed', 'too many extensions');
    extensions.push({ oid, critical, value });
  }
  return extensions;
}

const known = {
  basicConstraints: oidHex(oids.basicConstraints),
  keyUsage: oidHex(oids.keyUsage),
  extendedKeyUsage: oidHex(oids.extendedKeyUsage),
  subjectAltName: oidHex(oids.subjectAltName),
  subjectKeyId: oidHex(oids.subjectKeyId),
  authorityKeyId: oidHex(oids.authorityKeyId),
};
const knownOids = new Set<string>(Object.values(known));

function isAuthority(value: Buffer | undefined): boolean {
  if (value === undefined) return false;
  const fields = readDer(value, maxCertificateBytes).inside(tags.sequence);
  return fields.optional(tags.boolean)?.boolean() ?? false;
}

function oidList(value: Buffer): string[] {
  const cursor = readDer(value, maxCertificateBytes).inside(tags.sequence);
  const found: string[] = [];
  while (cursor.more) found.push(cursor.next().oid());
  return found;
}

function readCertificate(der: Uint8Array): ParsedCertificate {
  const top = readDer(der, maxCertificateBytes).inside(tags.sequence);
  const tbs = top.next();
  const algorithm = top.next().der();
  const signature = top.next().bits();
  top.end();

  const fields = tbs.inside(tags.sequence);
  const version = fields.next().inside(contextTag(0)).next().content(tags.integer);
  if (version.toString('hex') !== '02') throw new Fault('malformed', 'not a version 3 certificate');
  const serial = fields.next().content(tags.integer).toString('hex');
  if (!fields.next().der().equals(algorithm))
    throw new Fault('malformed', 'two signature algorithms are named (RFC 5280, section 4.1.1.2)');
  const issuer = fields.next().der();
  const validity = fields.next().inside(tags.sequence);
  const notBefore = validity.next().time();
  const notAfter = validity.next().time();
  validity.end();
  const subject = fields.next().der();
  const spki = fields.next().der();
  const extensions = readExtensions(fields.next().inside(contextTag(3)).next().inside(tags.sequence));
  fields.end();

  const extensionValue = (oid: string): Buffer | undefined =>
    extensions.find((one) => one.oid === oid)?.value;
  const altNames = extensionValue(known.subjectAltName);
  const keyUsage = extensionValue(known.keyUsage);
  const extendedKeyUsage = extensionValue(known.extendedKeyUsage);
  return {
    tbs: tbs.der(),
    signature,
    issuer,
    subject,
    serial,
    notBefore,
    notAfter,
    spki,
    altNames: altNames === undefined ? null : readAltNames(readDer(altNames, maxCertificateBytes)),
    isAuthority: isAuthority(extensionValue(known.basicConstraints)),
    keyUsage: keyUsage === undefined ? null : readDer(keyUsage, 64).namedBits(),
    extendedKeyUsage: extendedKeyUsage === undefined ? null : oidList(extendedKeyUsage),
    unknownCritical: extensions.some((one) => one.critical && !knownOids.has(one.oid)),
  };
}

/** Throws `Fault('certificate-malformed')`. Says nothing about who signed it. */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  try {
    return readCertificate(der);
  } catch (error) {
    if (error instanceof Fault) throw new Fault('certificate-malformed', `certificate: ${error.message}`);
    throw error;
  }
}

const ed25519SpkiHead = '302a300506032b6570032100';

/** The key of a DER SubjectPublicKeyInfo if it is an Ed25519 one, hex; null else. */
export function ed25519KeyOf(spki: Buffer): HostId | null {
  const hex = spki.toString('hex');
  return hex.length === 88 && hex.startsWith(ed25519SpkiHead) ? hex.slice(ed25519SpkiHead.length) : null;
}

const pemHead = '-----BEGIN CERTIFICATE-----';
const pemTail = '-----END CERTIFICATE-----';
const base64Pattern = /^[A-Za-z0-9+/]+={0,2}$/;
const maxPemCertificates = 8;

/** The certificates of a PEM text, in order; at most eight. Throws `Fault('certificate-malformed')`. */
export function certificatesOfPem(pem: string): Buffer[] {
  const found: Buffer[] = [];
  let position = 0;
  for (;;) {
    const head = pem.indexOf(pemHead, position);
    const tail = head < 0 ? -1 : pem.indexOf(pemTail, head);
    if (tail < 0) break;
    const body = pem.slice(head + pemHead.length, tail).replace(/\s/g, '');
    if (
      found.length === maxPemCertificates ||
      body.length > 2 * maxCertificateBytes ||
      !base64Pattern.test(body)
    )
      throw new Fault('certificate-malformed', 'expected at most eight certificates in PEM');
    found.push(Buffer.from(body, 'base64'));
    position = tail + pemTail.length;
  }
  if (found.length === 0) throw new Fault('certificate-malformed', 'expected a certificate in PEM');
  return found;
}
