/**
 * What of a request decides its place in the tables of ring_hash and maglev: fields, cookies, query parameters
 * or the caller's address, as policy lists them; combined as Envoy combines them.
 */
import type { Random } from '../../core.ts';
import type { HashPolicy } from '../policy.ts';
import { noHash } from './chooser.ts';
import { hashOf } from './hash.ts';

/** Where values come from; null where the request has none. Names are as in the policy. */
export interface HashSource {
  header(name: string): string | null;
  query(name: string): string | null;
  cookie(name: string): string | null;
  /** Of the client: of the socket, not of any field that it could have written itself. */
  readonly sourceIp: string;
}

type CookiePolicy = Extract<HashPolicy, { type: 'cookie' }>;

/** RFC 6265, section 4.1.1: what a cookie may be called, and its path; nothing that could end the field. */
const isToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const isPath = /^[\x20-\x3a\x3c-\x7e]*$/;
/** Random digits of a cookie that the proxy sets, as two numbers of 32 bits. */
const cookieDigits = 16;

export class RequestHasher {
  /**
   * The value of the Set-Cookie field that the answer to the request hashed last must carry, so that the client
   * comes back to where it is sent now; null for none.
   */
  setCookie: string | null = null;
  private readonly policies: readonly HashPolicy[];

  constructor(policies: readonly HashPolicy[]) {
    this.policies = policies;
  }

  /** An unsigned 32-bit integer, or `noHash` where nothing that policy lists is there. */
  hash(source: HashSource, random: Random): number {
    this.setCookie = null;
    let combined = noHash;
    for (const policy of this.policies) {
      const value = this.valueOf(policy, source, random);
      if (value !== null) combined = combine(combined, hashOf(value, 0));
      if (policy.terminal && combined !== noHash) break;
    }
    return combined;
  }

  private valueOf(policy: HashPolicy, source: HashSource, random: Random): string | null {
    if (policy.type === 'header') return source.header(policy.name);
    if (policy.type === 'query') return source.query(policy.name);
    if (policy.type === 'source-ip') return source.sourceIp;
    return source.cookie(policy.name) || this.issue(policy, random);
  }

  private issue({ name, issue }: CookiePolicy, random: Random): string | null {
    if (issue === null || !isToken.test(name) || !isPath.test(issue.path)) return null;
    const value = hexDigits(random) + hexDigits(random);
    const life = issue.ttlMs > 0 ? `; Max-Age=${Math.ceil(issue.ttlMs / 1000)}` : '';
    const path = issue.path === '' ? '' : `; Path=${issue.path}`;
    this.setCookie = `${name}=${value}${life}${path}; HttpOnly`;
    return value;
  }
}

/** The order of values counts, as in Envoy: what came before is rotated by a bit. */
function combine(before: number, hash: number): number {
  if (before === noHash) return hash;
  return (((before << 1) | (before >>> 31)) ^ hash) >>> 0;
}

function hexDigits(random: Random): string {
  return Math.floor(random.next() * 2 ** 32)
    .toString(16)
    .padStart(cookieDigits / 2, '0');
}
