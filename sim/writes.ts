/**
 * What callers of agents write, as a script or an operator would, and what the ledger is told of it: services
 * registered and taken back, intentions. A host that is not in touch with the mesh yet may refuse; any other
 * refusal is a surprise.
 */

import { CONFIG_ENTRY, SERVICE } from '../src/agent/kinds.ts';
import { upsertIntention } from '../src/agent/policy/intentions.ts';
import type { Fault, Signer } from '../src/core.ts';
import type { Ledger } from './checks/ledger.ts';
import { Violation } from './checks/violation.ts';
import type { Host } from './host/host.ts';
import { serviceDefinition } from './host/services.ts';
import type { SimulatedAgent } from './host/simulated-agent.ts';
import type { Step } from './plan.ts';
import type { World } from './world.ts';

/** What decides whom a write must reach. */
export interface Reach {
  /** Some host is cut off from some other. */
  readonly isPartitioned: boolean;
  /** Awake hosts that no cut keeps from this one. */
  withinReachOf(host: Host): Host[];
}

export class Writes {
  private readonly world: World;
  private readonly ledger: Ledger;
  private readonly reach: Reach;

  constructor(world: World, ledger: Ledger, reach: Reach) {
    this.world = world;
    this.ledger = ledger;
    this.reach = reach;
  }

  register(host: Host, service: string): void {
    if (!host.isRunning) return;
    const before = this.ledger.servicesOf(host.number).get(service) ?? 'absent';
    this.ledger.setService(host.number, service, 'unknown');
    host.command({ type: 'register-service', definition: serviceDefinition(service) }, (outcome) => {
      if ('fault' in outcome) {
        this.refused(host, outcome.fault);
        this.ledger.setService(host.number, service, before);
      } else this.settled(host, service, 'present');
    });
  }

  deregister(host: Host, service: string): void {
    if (!host.isRunning || this.ledger.servicesOf(host.number).get(service) !== 'present') return;
    this.ledger.setService(host.number, service, 'unknown');
    host.command({ type: 'deregister-service', id: service }, (outcome) => {
      if ('fault' in outcome) {
        this.refused(host, outcome.fault);
        this.ledger.setService(host.number, service, 'present');
      } else this.settled(host, service, 'absent');
    });
  }

  private settled(host: Host, service: string, state: 'present' | 'absent'): void {
    this.ledger.setService(host.number, service, state);
    this.ledger.acknowledge(host, `host/${host.id}/${SERVICE}/${service}`, this.reach.isPartitioned);
    const seen = ({ catalog }: SimulatedAgent): boolean =>
      (catalog.host(host.id)?.services.has(service) ?? false) === (state === 'present');
    this.ledger.watchWrite(`service:${service}`, this.reach.withinReachOf(host), seen);
  }

  /** An operator changes one intention through this host, as the HTTP API does. */
  intend(host: Host, step: Extract<Step, { do: 'intention' }>, operator: Signer): void {
    const policy = host.agent?.policy;
    if (!host.isRunning || policy === undefined) return;
    const wish = { Action: step.action };
    const parsed = upsertIntention(policy, step.source, step.destination, wish);
    host.command({ type: 'put-config-entry', ...parsed, operator }, (outcome) => {
      if ('fault' in outcome) {
        this.refused(host, outcome.fault);
        return;
      }
      const slot = `policy/${CONFIG_ENTRY}/${parsed.kind}/${parsed.name}`;
      this.ledger.acknowledge(host, slot, this.reach.isPartitioned);
      const written = host.agent?.record(slot);
      if (written === undefined) return;
      const seen = (agent: SimulatedAgent): boolean => {
        const record = agent.record(slot);
        return record !== undefined && record.hlc >= written.hlc;
      };
      this.ledger.watchWrite(`config:${parsed.kind}`, this.reach.withinReachOf(host), seen);
    });
  }

  private refused(host: Host, fault: Fault): void {
    if (host.isReady)
      throw new Violation('no-refusal', this.world, `${host.name}: ${fault.code}, ${fault.message}`);
  }
}
