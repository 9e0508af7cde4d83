/** Who is behind a certificate, as the proxy asks: the profile of SVIDs is the trust room's business. */
import { Fault, type Millis } from '../../core.ts';
import type { VerifyPeer } from '../../proxy/io/embedded.ts';
import { verifySvidProfile } from '../../trust/x509/svid-profile.ts';

export function peerVerifier(trustDomain: string, now: () => Millis): VerifyPeer {
  return (der) => {
    try {
      return verifySvidProfile(der, trustDomain, now());
    } catch (error) {
      if (error instanceof Fault) return { problem: error.code };
      throw error;
    }
  };
}
