/** How requests are balanced; see the folder of that name. */
export { Balancer } from './balance/balancer.ts';
export { BalancedEndpoint, type Outcome } from './balance/endpoint.ts';
