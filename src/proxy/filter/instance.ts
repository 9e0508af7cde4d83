/** Instances as filters of subsets see them: Consul's `/v1/health/service` entry, as far as the mesh has it. */
import { Fault } from '../../core.ts';
import type { InstanceView } from '../view.ts';
import { compileFilter, type Filter } from './filter.ts';
import { list, map, number, object, type Shape, string } from './shape.ts';

export const instanceShape: Shape = object({
  Node: object({
    Node: string,
    Address: string,
    Datacenter: string,
    Meta: map(string),
  }),
  Service: object({
    ID: string,
    Service: string,
    Tags: list(string),
    Meta: map(string),
    Address: string,
    Port: number,
  }),
});

/** What a filter is given: the same as `?filter` of the API is, of those fields. */
export function instanceData(service: string, instance: InstanceView): object {
  const { id, hostName, address, datacenter, hostMeta, tags, meta, appAddress, appPort } = instance;
  return {
    Node: { Node: hostName, Address: address, Datacenter: datacenter, Meta: hostMeta },
    Service: { ID: id, Service: service, Tags: tags, Meta: meta, Address: appAddress, Port: appPort },
  };
}

/** A subset's filter; what is wrong with it, as text, where it is not one. '' takes every instance. */
export function subsetFilter(text: string): Filter | string {
  if (text === '') return { matches: () => true };
  try {
    return compileFilter(text, instanceShape);
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
}
