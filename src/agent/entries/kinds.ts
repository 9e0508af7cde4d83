/** Which kinds of config entries there are, for those who need no more than their names. */

/** What others may refer to comes first: written in this order, no reference dangles meanwhile. */
const inOrder = [
  'mesh',
  'proxy-defaults',
  'service-defaults',
  'service-resolver',
  'service-splitter',
  'service-router',
  'service-intentions',
] as const;

export type EntryKind = (typeof inOrder)[number];

/** Sorted. */
export const supportedKinds: readonly EntryKind[] = [...inOrder].sort();

/** Entries in an order in which they can be written one by one. */
export function inWritingOrder<E extends { readonly kind: string }>(entries: readonly E[]): E[] {
  const places: readonly string[] = inOrder;
  const place = ({ kind }: E) => places.indexOf(kind);
  return [...entries].sort((a, b) => place(a) - place(b));
}

/** Consul's other kinds, so that a refusal can tell what Starling has no use for from a typing error. */
export const foreignKinds: readonly string[] = [
  'api-gateway',
  'bound-api-gateway',
  'control-plane-request-limit',
  'exported-services',
  'file-system-certificate',
  'http-route',
  'ingress-gateway',
  'inline-certificate',
  'jwt-provider',
  'sameness-group',
  'tcp-route',
  'terminating-gateway',
];
