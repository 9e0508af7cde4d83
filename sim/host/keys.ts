/**
 * Keys of simulated hosts. Ed25519 is deterministic (RFC 8032), so the simulator uses the real thing: host keys
 * come from the seed, and a signature is verified once for the whole flock instead of once a host.
 */
import { hash } from 'node:crypto';
import {
  ed25519Signer,
  ed25519Verify,
  type Random,
  randomInt,
  type Signer,
  type Verify,
} from '../../src/core.ts';

/** Bytes drawn from `random`: never a secret. */
export function drawBytes(random: Random, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => randomInt(random, 256));
}

export function drawSigner(random: Random): Signer {
  return ed25519Signer(drawBytes(random, 32));
}

/** Of a host's key. */
export function hostSeed(world: { random(purpose: string): Random }, host: number): Uint8Array {
  return drawBytes(world.random(`key/${host}`), 32);
}

/** How many verdicts are remembered; the older half is forgotten when full. */
const verdictsMax = 200_000;

/** `ed25519Verify` that remembers its verdicts: the verdict is a function of its arguments alone. */
export function rememberingVerify(): Verify {
  const verdicts = new Map<string, boolean>();
  return (publicKey, message, signature) => {
    const question = `${publicKey}${hash('md5', message)}${hash('md5', signature)}`;
    const known = verdicts.get(question);
    if (known !== undefined) return known;
    const verdict = ed25519Verify(publicKey, message, signature);
    if (verdicts.size >= verdictsMax) {
      let drop = verdictsMax / 2;
      for (const oldest of verdicts.keys()) {
        if (drop-- <= 0) break;
        verdicts.delete(oldest);
      }
    }
    verdicts.set(question, verdict);
    return verdict;
  };
}
