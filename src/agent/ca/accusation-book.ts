/**
 * What hosts say against trustees, each host in a room of its own: nobody's words keep out another's. Each is judged
 * once, when it comes, or when whoever it is about is known to have been a trustee. Pure.
 */
import type { HostId } from '../../core.ts';
import type { TrustAccusationValue } from '../kinds.ts';
import { type Accusation, type Charge, readAccusation } from './accusations.ts';

/** Of one host: more trustees than one root has at a time. Beyond that those that it wrote first go. */
export const maxAccusationsPerHost = 16;

export class AccusationBook {
  /** Grows with each change. */
  revision = 0;
  /** By who says so and the key of the record. */
  private readonly byHost = new Map<HostId, Map<string, Accusation>>();
  /** Not taken yet. */
  private readonly news = new Set<Accusation>();

  /** `value` null: the host no longer says so. */
  told(by: HostId, key: string, value: TrustAccusationValue | null): void {
    this.drop(by, key);
    const accusation = value === null ? null : readAccusation(by, key, value);
    if (accusation === null) return;
    const own = this.byHost.get(by) ?? new Map<string, Accusation>();
    this.byHost.set(by, own.set(key, accusation));
    this.news.add(accusation);
    this.revision++;
    if (own.size <= maxAccusationsPerHost) return;
    const [[oldest]] = [...own].sort(([, a], [, b]) => a.value.at - b.value.at) as [[string, Accusation]];
    this.drop(by, oldest);
  }

  private drop(by: HostId, key: string): void {
    const own = this.byHost.get(by);
    const accusation = own?.get(key);
    if (own === undefined || accusation === undefined) return;
    own.delete(key);
    if (own.size === 0) this.byHost.delete(by);
    this.news.delete(accusation);
    this.revision++;
  }

  /** Everything that this host ever said. */
  forgetHost(by: HostId): void {
    for (const key of [...(this.byHost.get(by)?.keys() ?? [])]) this.drop(by, key);
  }

  find(by: HostId, charge: Charge, accused: HostId): Accusation | undefined {
    return this.byHost.get(by)?.get(`${charge}/${accused}`);
  }

  get hasNews(): boolean {
    return this.news.size > 0;
  }

  /** What is news of these hosts. The rest waits: whom it is about may be known to be a trustee only later. */
  takeNews(of: ReadonlySet<HostId>): Accusation[] {
    const taken = [...this.news].filter(({ accused }) => of.has(accused));
    for (const accusation of taken) this.news.delete(accusation);
    return taken;
  }

  all(): Accusation[] {
    return [...this.byHost.values()].flatMap((own) => [...own.values()]);
  }
}
