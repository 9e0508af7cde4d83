/**
 * `mesh`: what Consul lets an operator choose for the whole mesh. Starling leaves no choice in these matters, so an
 * entry may say what is so anyway, and nothing else.
 */

import { entryFields } from './common.ts';
import { object, type Read, refused, text, word } from './form.ts';

const tls13 = word(['TLSv1_3', 'TLS_AUTO']);
const onlyTls13 = 'every connection between hosts is TLS 1.3';
const tls = object({
  TLSMinVersion: tls13,
  TLSMaxVersion: tls13,
  CipherSuites: refused(`${onlyTls13}, whose cipher suites are fixed`),
});

export const mesh = object({
  ...entryFields('mesh', text({ pattern: /^mesh$/, what: 'a name: the only one is "mesh"' })),
  TLS: object({ Incoming: tls, Outgoing: tls }),
  HTTP: object({
    SanitizeXForwardedClientCert: refused('identity headers of clients are dropped always', [true]),
    Incoming: refused('paths are routed and authorised as they are sent on'),
  }),
  TransparentProxy: refused('there is no transparent proxy mode'),
  AllowEnablingPermissiveMutualTLS: refused('every connection between hosts is mutual TLS'),
  ValidateClusters: refused('clusters are validated always', [true]),
  Peering: refused('there is no peering between meshes'),
});

export type Mesh = Read<typeof mesh>;
