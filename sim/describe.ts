/** What tells one input of an agent from another in a trace. */
import type { AgentInput } from '../src/agent/effects.ts';
import type { SwimInput } from '../src/gossip/swim-port.ts';
import type { EngineInput } from '../src/trust/quorum/engine.ts';
import type { Trace } from './trace.ts';

export function describeMembership(input: SwimInput, trace: Trace): void {
  trace.text(input.type);
  if (input.type === 'datagram') trace.text(input.from).bytes(input.bytes);
  else if (input.type === 'order') trace.text(input.order.type);
}

export function describeEngine(input: EngineInput, trace: Trace): void {
  trace.text(input.type);
  if (input.type === 'deliver') trace.text(input.from).bytes(input.bytes);
  else if (input.type === 'contribute') trace.text(input.nonceId).bytes(input.message);
}

export function describe(input: AgentInput, trace: Trace): void {
  trace.text(input.type);
  switch (input.type) {
    case 'frame':
      trace.text(input.from).bytes(input.bytes);
      break;
    case 'delta':
    case 'join-request':
    case 'introduction':
      trace.bytes(input.bytes);
      break;
    case 'connected':
    case 'disconnected':
    case 'unreachable':
      trace.text(input.peer);
      break;
    case 'command':
      trace.text(input.command.type);
      break;
    case 'check-result':
      trace.text(input.checkId).text(input.status);
      break;
    case 'swim':
      trace.text(input.report.type);
      break;
    case 'engine':
      trace.text(input.report.type);
      break;
    case 'key-made':
      trace.text(input.service).bytes(input.csr);
      break;
    default:
      break;
  }
}
