/** Service identities on disk, so that a restart serves at once: one file a service, certificate and key. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, messageOf } from '../../core.ts';
import { maxServices, type SavedIdentity } from '../issuance/svid.ts';
import { labelPattern } from '../x509/spiffe.ts';
import { deleteSecret, readSecret, writeSecret } from './keys.ts';

const suffix = '.identity.pem';
/** An identity, or what `writeSecret` leaves of one when it is interrupted. */
const filePattern = /^(?<service>[a-z0-9-]+)\.identity\.pem(?:\.[0-9a-f]+\.tmp)?$/;
const keyMark = '-----BEGIN PRIVATE KEY-----';

function pathOf(folder: string, service: string): string {
  if (!labelPattern.test(service)) throw new Fault('service-name-malformed', 'not a service name');
  return join(folder, `${service}${suffix}`);
}

/** Replaces what was there, whole and durable, mode 0600. Faults of `writeSecret`. */
export function saveIdentity(folder: string, identity: SavedIdentity): Promise<void> {
  const content = Buffer.from(identity.certPem + identity.keyPem);
  return writeSecret(pathOf(folder, identity.service), content);
}

/** None there is fine. */
export function deleteIdentity(folder: string, service: string): Promise<void> {
  return deleteSecret(pathOf(folder, service));
}

/**
 * Deletes what there is of other services than these: identities of services that went while nobody looked,
 * and half-written files, which an interrupted write of any service leaves behind. To be called while nothing
 * is written. Throws `Fault('secret-unreadable')` or `Fault('secret-unwritable')`.
 */
export async function retainIdentities(folder: string, services: ReadonlySet<string>): Promise<void> {
  for (const name of await namesIn(folder)) {
    const service = filePattern.exec(name)?.groups?.service;
    if (service === undefined) continue;
    if (name !== `${service}${suffix}` || !services.has(service)) await deleteSecret(join(folder, name));
  }
}

/** None when there is no folder. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw new Fault('secret-unreadable', `cannot list ${folder}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Every identity in the folder; none when there is no folder. What cannot be read is handed to `problem` and
 * left out: a new one will be issued. The contents are not checked here.
 */
export async function loadIdentities(
  folder: string,
  problem: (fault: Fault) => void,
): Promise<SavedIdentity[]> {
  const identities: SavedIdentity[] = [];
  const names = await namesIn(folder);
  for (const name of names.filter((one) => one.endsWith(suffix)).slice(0, maxServices)) {
    try {
      const text = (await readSecret(join(folder, name)))?.toString('utf8') ?? '';
      const split = text.indexOf(keyMark);
      if (split < 0) throw new Fault('secret-damaged', `${join(folder, name)} holds no key`);
      const service = name.slice(0, -suffix.length);
      identities.push({ service, certPem: text.slice(0, split), keyPem: text.slice(split) });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      problem(error);
    }
  }
  return identities;
}
