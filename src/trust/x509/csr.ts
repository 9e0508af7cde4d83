/** Certificate signing requests (PKCS#10, RFC 2986): one form only, for P-256 keys. */
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { Fault } from '../../core.ts';
import { type AltNames, readAltNames, readExtensions } from './certificate.ts';
import {
  bitString,
  context,
  contextTag,
  type DerNode,
  embed,
  encode,
  objectIdentifier,
  octetString,
  oidHex,
  readDer,
  sequence,
  set,
  tags,
  unsignedInteger,
} from './der.ts';
import { oids, subjectAltName } from './x509.ts';

/** One for a service has about 400 bytes. */
export const maxCsrBytes = 2048;

const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const extensionRequest = '1.2.840.113549.1.9.14';

/** AlgorithmIdentifier of P-256 keys and the head of the key bits: an uncompressed point of 64 bytes. */
const p256SpkiHead = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');

export interface Csr {
  /** Checked: a P-256 key in its canonical encoding. */
  readonly spki: Buffer;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
}

/** A request for `key` (a P-256 private key) to be certified under these names. */
export function createCsr(key: KeyObject, spiffeId: string, dnsNames: readonly string[]): Buffer {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const names = octetString(encode(subjectAltName(spiffeId, dnsNames)));
  const extensions = sequence(sequence(objectIdentifier(oids.subjectAltName), names));
  const info = sequence(
    unsignedInteger(Buffer.of(0)),
    sequence(),
    embed(spki),
    context(0, [sequence(objectIdentifier(extensionRequest), set(extensions))]),
  );
  const signature = sign('sha256', encode(info), key);
  return encode(sequence(info, sequence(objectIdentifier(ecdsaWithSha256)), bitString(signature)));
}

/** The key in `spki`, which must be the one canonical encoding of a point on P-256; else `Fault('csr-key')`. */
export function p256KeyOf(spki: Buffer): KeyObject {
  if (spki.length !== p256SpkiHead.length + 64 || !spki.subarray(0, p256SpkiHead.length).equals(p256SpkiHead))
    throw new Fault('csr-key', 'the key must be a P-256 key');
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (error) {
    throw new Fault('csr-key', 'the key is not a point on the curve P-256', { cause: error });
  }
}

/** The names asked for: the one attribute allowed is an extension request, and it may ask for names only. */
function readNames(attributes: DerNode | null): AltNames {
  const list = attributes?.inside(contextTag(0));
  if (list === undefined || !list.more) throw new Fault('csr-names', 'the request names nothing');
  const attribute = list.next().inside(tags.sequence);
  list.end();
  if (attribute.next().oid() !== oidHex(extensionRequest))
    throw new Fault('csr-extension', 'the request carries an attribute that is not an extension request');
  const values = attribute.next().inside(tags.set);
  attribute.end();
  const extensions = readExtensions(values.next().inside(tags.sequence));
  values.end();
  const names = extensions.find((one) => one.oid === oidHex(oids.subjectAltName));
  if (names === undefined) throw new Fault('csr-names', 'the request names nothing');
  if (extensions.length > 1)
    throw new Fault('csr-extension', 'the request asks for more than names; the profile decides the rest');
  return readAltNames(readDer(names.value, maxCsrBytes));
}

function readCsr(der: Uint8Array): Csr {
  const top = readDer(der, maxCsrBytes).inside(tags.sequence);
  const info = top.next();
  const algorithm = top.next().inside(tags.sequence);
  const signature = top.next().bits();
  top.end();
  if (algorithm.next().oid() !== oidHex(ecdsaWithSha256))
    throw new Fault('csr-key', 'the request must be signed by ECDSA with SHA-256');
  algorithm.end();

  const fields = info.inside(tags.sequence);
  if (fields.next().content(tags.integer).toString('hex') !== '00')
    throw new Fault('malformed', 'unknown version');
  fields.next().inside(tags.sequence).end();
  const spki = fields.next().der();
  const attributes = fields.optional(contextTag(0));
  fields.end();

  if (!verify('sha256', info.der(), p256KeyOf(spki), signature))
    throw new Fault('csr-signature', 'the request is not signed by the key it carries');
  const names = readNames(attributes);
  const [spiffeId, ...more] = names.uris;
  if (spiffeId === undefined || more.length > 0 || names.others > 0)
    throw new Fault('csr-names', 'the request must name exactly one URI, and DNS names');
  return { spki, spiffeId, dnsNames: names.dnsNames };
}

/**
 * Reads a request nobody vouches for and verifies its proof of possession. Faults: `csr-malformed` (not
 * canonical DER of this one form, too large), `csr-key`, `csr-signature`, `csr-names`, `csr-extension`.
 */
export function parseCsr(der: Uint8Array): Csr {
  try {
    return readCsr(der);
  } catch (error) {
    if (error instanceof Fault && error.code === 'malformed')
      throw new Fault('csr-malformed', `certificate request: ${error.message}`);
    throw error;
  }
}

const pemPattern =
  /^\s*-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/;

/** The one request in a PEM text, unchecked. Throws `Fault('csr-malformed')`. */
export function csrOfPem(pem: string): Uint8Array {
  const body = pem.length > 2 * maxCsrBytes ? undefined : pemPattern.exec(pem)?.[1];
  if (body === undefined) throw new Fault('csr-malformed', 'expected one certificate request in PEM');
  return Buffer.from(body.replace(/\s/g, ''), 'base64');
}
