/** Who and what there is in a large mesh, as in the largest that has been described in public. */

/** Instances of services on a host, on average: 172,000 on 10,000 hosts. */
export const instancesPerHost = 17.2;

/** How many instances `hosts` hosts have together. */
export function instancesOn(hosts: number): number {
  return Math.round(hosts * instancesPerHost);
}

/** The first instance of a host, when all are numbered from host to host; of the host after the last, their number. */
export function firstInstanceOf(host: number, hosts: number): number {
  return Math.round((host * instancesOn(hosts)) / hosts);
}
