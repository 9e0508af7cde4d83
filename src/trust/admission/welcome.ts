/**
 * A sponsor's word that it let a host in. Without it, an admission that comes from nobody known could be a thief's:
 * its time is the host's own word, and a token that has long expired would still open. With it, whoever knows the
 * sponsor can take the host in at any later time, whether or not the sponsor is still there. Pure.
 */
import { ByteWriter, Fault, type HostId, type Signer, type Verify } from '../../core.ts';
import { Fields } from '../fields.ts';

/** The value of a host's `welcome` record (host scope, key ''). */
export interface WelcomeValue {
  readonly sponsor: HostId;
  /** Ed25519, hex; see `signWelcome`. */
  readonly signature: string;
}

/** Whom a sponsor let in, and by what. */
export interface Welcomed {
  readonly genesisHash: string;
  readonly host: HostId;
  /** The value of its `admission` record. */
  readonly admission: Uint8Array;
}

const signatureBytes = 64;

function message({ genesisHash, host, admission }: Welcomed): Uint8Array {
  return new ByteWriter().string('starling-welcome-1').hex(genesisHash).hex(host).bytes(admission).done();
}

/** What only who has judged a join request by its own clock may sign, or who knew of that admission already. */
export function signWelcome(welcomed: Welcomed, sponsor: Signer): string {
  return Buffer.from(sponsor.sign(message(welcomed))).toString('hex');
}

/** Whether the sponsor that is named let this host in by this admission. Who may be a sponsor is not judged here. */
export function provesWelcome({ sponsor, signature }: WelcomeValue, to: Welcomed, verify: Verify): boolean {
  return verify(sponsor, message(to), Buffer.from(signature, 'hex'));
}

/** Reads the value of a `welcome` record. Throws `Fault('welcome-malformed')`; proves nothing. */
export function parseWelcome(value: Uint8Array): WelcomeValue {
  const fields = Fields.parse(value, 'welcome-malformed');
  return { sponsor: fields.hex('sponsor', 32), signature: fields.hex('signature', signatureBytes) };
}

/** As `parseWelcome`; null for what this version cannot read, as an older or newer one may have written it. */
export function welcomeIn(value: Uint8Array): WelcomeValue | null {
  try {
    return parseWelcome(value);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
