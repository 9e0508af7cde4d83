/** Which kinds of config entries there are, for those who need no more than their names. */

/** Sorted. */
export const supportedKinds = [
  'mesh',
  'proxy-defaults',
  'service-defaults',
  'service-intentions',
  'service-resolver',
  'service-router',
  'service-splitter',
] as const;

export type EntryKind = (typeof supportedKinds)[number];

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
