/** Where the counters of traffic are found by those who count. */
export { TrafficCounter, TrafficTable } from './observe/traffic.ts';
