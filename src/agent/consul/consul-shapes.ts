/**
 * What the rows of Consul's lists are like, so that a `?filter` whose selector can never match is refused, as by
 * Consul. The names are those of the JSON in `consul.ts`.
 */
import { boolean, list, map, number, object, type Shape, string } from '../../proxy/filter/shape.ts';

const address = object({ Address: string, Port: number });
const weights = object({ Passing: number, Warning: number });

const node = {
  ID: string,
  Node: string,
  Address: string,
  Datacenter: string,
  TaggedAddresses: map(string),
  Meta: map(string),
};

const service = {
  Kind: string,
  ID: string,
  Service: string,
  Tags: list(string),
  Meta: map(string),
  Port: number,
  Address: string,
  SocketPath: string,
  TaggedAddresses: map(address),
  Weights: weights,
  EnableTagOverride: boolean,
  Proxy: object({
    Mode: string,
    DestinationServiceName: string,
    DestinationServiceID: string,
    LocalServiceAddress: string,
    LocalServicePort: number,
  }),
  Connect: object({ Native: boolean }),
};

const check = {
  Node: string,
  CheckID: string,
  Name: string,
  Status: string,
  Notes: string,
  Output: string,
  ServiceID: string,
  ServiceName: string,
  ServiceTags: list(string),
  Type: string,
};

export const nodeShape: Shape = object(node);
export const serviceShape: Shape = object(service);
export const agentServiceShape: Shape = object({ ...service, Datacenter: string, ContentHash: string });
export const checkShape: Shape = object(check);

/** `health/service/:service`. */
export const healthShape: Shape = object({
  Node: object(node),
  Service: object(service),
  Checks: list(object(check)),
});

/** `catalog/service/:service`. */
export const catalogServiceShape: Shape = object({
  ID: string,
  Node: string,
  Address: string,
  Datacenter: string,
  TaggedAddresses: map(string),
  NodeMeta: map(string),
  ServiceKind: string,
  ServiceID: string,
  ServiceName: string,
  ServiceTags: list(string),
  ServiceAddress: string,
  ServiceTaggedAddresses: map(address),
  ServiceWeights: weights,
  ServiceMeta: map(string),
  ServicePort: number,
  ServiceSocketPath: string,
  ServiceEnableTagOverride: boolean,
});

/** `agent/members`. */
export const memberShape: Shape = object({
  Name: string,
  Addr: string,
  Port: number,
  Status: number,
  Tags: map(string),
});

/** `connect/intentions`. */
export const intentionShape: Shape = object({
  Description: string,
  SourceNS: string,
  SourceName: string,
  DestinationNS: string,
  DestinationName: string,
  SourceType: string,
  Action: string,
  Precedence: number,
  Meta: map(string),
});
