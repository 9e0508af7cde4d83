/** What `npm run bench -- proxy` measures, in the order in which it runs; `--only` names some of them. */
export const proxyMeasurements = ['agent', 'load', 'pace', 'grpc', 'tcp', 'memory'] as const;

/**
 * `agent`: start, and memory and CPU when idle. `load`: throughput and CPU per request at saturation. `pace`:
 * latency at steady rates. `grpc`: unary calls at saturation. `tcp`: bytes through a connection. `memory`: of each
 * proxy, before anything went through it and after all that was measured.
 */
export type ProxyMeasurement = (typeof proxyMeasurements)[number];
