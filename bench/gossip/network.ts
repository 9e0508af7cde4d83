/**
 * A small routed network: every host is a network namespace with an interface of its own, and the namespace of
 * the benchmark is the router between them. So each host's traffic is counted by itself, and a host can be cut
 * off without a sign, as by a pulled plug: its packets and those to it vanish, no error comes back.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseInterfaces } from '../procfs.ts';

export const networkTools = ['ip', 'mount', 'nsenter'];

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Makes this namespace a router; once in its life. Whatever was mounted on /run is hidden from it alone. */
export function becomeRouter(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  ip('link', 'set', 'lo', 'up');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  // Its announcements would be in the count.
  writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1');
}

export interface Traffic {
  readonly bytes: number;
  readonly packets: number;
}

/** Hosts 0 to `size` - 1. */
export class Network {
  readonly size: number;

  constructor(size: number) {
    this.size = size;
    for (let host = 0; host < size; host++) this.addHost(host);
  }

  private addHost(host: number): void {
    const [space, near] = [spaceOf(host), interfaceOf(host)];
    ip('netns', 'add', space);
    this.run(host, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6');
    ip('link', 'add', near, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space);
    ip('addr', 'add', `${routerOf(host)}/24`, 'dev', near);
    ip('link', 'set', near, 'up');
    ip('-n', space, 'link', 'set', 'lo', 'up');
    ip('-n', space, 'addr', 'add', `${this.address(host)}/24`, 'dev', 'eth0');
    ip('-n', space, 'link', 'set', 'eth0', 'up');
    ip('-n', space, 'route', 'add', 'default', 'via', routerOf(host));
  }

  address(host: number): string {
    return `10.77.${host}.2`;
  }

  /** The command that runs another one on a host, under the same pid. */
  inside(host: number, command: string, args: readonly string[]): [command: string, args: string[]] {
    return ['nsenter', [`--net=/run/netns/${spaceOf(host)}`, command, ...args]];
  }

  private run(host: number, command: string, ...args: string[]): void {
    execFileSync(...this.inside(host, command, args));
  }

  /** From now on nothing gets to this host or away from it. */
  cut(host: number): void {
    for (const direction of directionsOf(host)) ip('rule', 'add', ...direction, 'blackhole');
  }

  mend(host: number): void {
    for (const direction of directionsOf(host)) ip('rule', 'del', ...direction, 'blackhole');
  }

  /** What all hosts have sent so far, headers included; each packet counts once. */
  sent(): Traffic {
    const each = Array.from({ length: this.size }, (_, host) => this.sentBy(host));
    return {
      bytes: each.reduce((sum, { bytes }) => sum + bytes, 0),
      packets: each.reduce((sum, { packets }) => sum + packets, 0),
    };
  }

  /** What the router's end of its line receives is what a host sends. */
  sentBy(host: number): Traffic {
    const counters = parseInterfaces(readFileSync('/proc/self/net/dev', 'utf8')).get(interfaceOf(host));
    if (counters === undefined) throw new Error(`no interface ${interfaceOf(host)}`);
    return { bytes: counters.receivedBytes, packets: counters.receivedPackets };
  }

  /** Needs all processes in it to have ended. */
  remove(): void {
    for (let host = 0; host < this.size; host++) {
      ip('link', 'del', interfaceOf(host));
      ip('netns', 'del', spaceOf(host));
    }
  }
}

function spaceOf(host: number): string {
  return `host${host}`;
}

function interfaceOf(host: number): string {
  return `to-host${host}`;
}

function routerOf(host: number): string {
  return `10.77.${host}.1`;
}

function directionsOf(host: number): string[][] {
  const priority = ['priority', '100'];
  return [
    [...priority, 'iif', interfaceOf(host)],
    [...priority, 'to', `10.77.${host}.0/24`],
  ];
}
