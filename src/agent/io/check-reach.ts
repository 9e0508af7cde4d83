/**
 * Where a check may connect to. The agent runs checks with its own rights, and a user that owns one service writes
 * them: they must not lead to what answers the agent and would not answer that user.
 */
import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Link-local addresses, where clouds answer a host's questions about itself, credentials included. */
const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4');
linkLocal.addSubnet('fe80::', 10, 'ipv6');
linkLocal.addAddress('fd00:ec2::254', 'ipv6');

/** What connects to this host itself, beside the addresses of its interfaces. */
const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('0.0.0.0', 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addAddress('::', 'ipv6');

function has(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function isOwn(address: string): boolean {
  if (has(loopback, address)) return true;
  return Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address));
}

export class Reach {
  /** Of the agent's API, which takes whoever has the agent's uid for its owner; null where it has none. */
  apiPort: number | null = null;

  /** Why a check may not connect there; null when it may. */
  refusalOf(address: string, port: number): string | null {
    const plain = address.split('%')[0]!;
    if (port === this.apiPort && isOwn(plain)) return `${address}:${port} is this agent's own API`;
    if (has(linkLocal, plain) && !isOwn(plain))
      return `${address} is a link-local address, and not this host's`;
    return null;
  }

  /** Throws unless a host that is an address may be connected to; a name is looked at once it was resolved. */
  admit(host: string, port: number): void {
    const address = host.replace(/^\[(.*)\]$/, '$1');
    const refusal = isIP(address) === 0 ? null : this.refusalOf(address, port);
    if (refusal !== null) throw new Error(`refused: ${refusal}`);
  }

  /** Resolves names for connections to a port; a name that has one forbidden address has none. */
  lookupFor(port: number): LookupFunction {
    return (host, options: LookupOptions, done) => {
      resolve(host, { ...options, all: true }, (error, found: readonly LookupAddress[] = []) => {
        const refusal = found.map(({ address }) => this.refusalOf(address, port)).find((why) => why !== null);
        const problem = error ?? (refusal === undefined ? null : new Error(`refused: ${host}: ${refusal}`));
        if (problem !== null) done(problem, []);
        else if (options.all) done(null, [...found]);
        else done(null, found[0]!.address, found[0]!.family);
      });
    };
  }
}
