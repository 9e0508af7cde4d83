/** With whom Starling is compared, beside the direct way; `--peers` names some of them. */
export const peerNames = [
  'haproxy-h2',
  'haproxy-h1',
  'nginx',
  'caddy',
  'node-http2',
  'starling-plane',
  'starling-2',
  'starling-3',
] as const;

export type PeerName = (typeof peerNames)[number];
