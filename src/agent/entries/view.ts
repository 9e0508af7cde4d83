/**
 * From the config entries in force to what the proxy knows of policy. Entries never change, so each is read once,
 * and an entry that is still there gives the very same object: whoever compares need not look inside.
 */
import { Fault } from '../../core.ts';
import type { PolicyView, ProxyDefaultsPolicy, ServiceDefaultsPolicy } from '../../proxy/policy.ts';
import type { Protocol } from '../../proxy/view.ts';
import type { PolicyStore, StoredEntry } from '../port.ts';
import { entryForms, formOf } from './entry.ts';
import type { Form } from './form.ts';
import type { EntryKind } from './kinds.ts';
import { proxyDefaultsPolicy } from './proxy-defaults.ts';
import { type ServiceDefaults, serviceDefaultsPolicy } from './service-defaults.ts';
import { resolverPolicy } from './service-resolver.ts';
import { routerPolicy } from './service-router.ts';
import { splitterPolicy } from './service-splitter.ts';

/** What this version makes of an entry: its policy, or why it makes nothing of it. */
type Understanding<P> = { readonly policy: P } | { readonly problem: string };

/** Reads entries of one kind, each once. */
class Reader<T extends { readonly Name: string }, P> {
  private readonly known = new WeakMap<StoredEntry, Understanding<P>>();
  private readonly kind: EntryKind;
  private readonly form: Form<T>;
  private readonly policyOf: (entry: T) => P;

  constructor(kind: EntryKind, form: Form<T>, policyOf: (entry: T) => P) {
    this.kind = kind;
    this.form = form;
    this.policyOf = policyOf;
  }

  read(stored: StoredEntry): Understanding<P> {
    let understanding = this.known.get(stored);
    if (understanding === undefined) {
      understanding = this.readAnew(stored);
      this.known.set(stored, understanding);
    }
    return understanding;
  }

  private readAnew(stored: StoredEntry): Understanding<P> {
    try {
      const entry = this.form.read(stored.entry, '');
      if (entry?.Name !== stored.name) return { problem: 'Name: is not that of its record' };
      return { policy: this.policyOf(entry) };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { problem: error.message };
    }
  }

  /** Sorted by name; what is not understood is left out, and shows among `unreadEntries`. */
  all(store: PolicyStore): P[] {
    return store.list(this.kind).flatMap((stored) => {
      const understanding = this.read(stored);
      return 'policy' in understanding ? [understanding.policy] : [];
    });
  }
}

const routers = new Reader('service-router', entryForms['service-router'], routerPolicy);
const splitters = new Reader('service-splitter', entryForms['service-splitter'], splitterPolicy);
const resolvers = new Reader('service-resolver', entryForms['service-resolver'], resolverPolicy);
const proxyDefaults = new Reader('proxy-defaults', entryForms['proxy-defaults'], proxyDefaultsPolicy);
/** A service that names no protocol speaks the mesh's: one reader for each that this may be. */
const defaults = new Map<Protocol, Reader<ServiceDefaults, ServiceDefaultsPolicy>>();

function defaultsReader(protocol: Protocol): Reader<ServiceDefaults, ServiceDefaultsPolicy> {
  let reader = defaults.get(protocol);
  if (reader === undefined) {
    reader = new Reader('service-defaults', entryForms['service-defaults'], (entry) =>
      serviceDefaultsPolicy(entry, protocol),
    );
    defaults.set(protocol, reader);
  }
  return reader;
}

/** The lists of the last view of each store: one whose elements are the same is the same. */
const lastViews = new WeakMap<PolicyStore, PolicyView>();

/** The mesh's policy as the proxy sees it. Equal policy gives the very same view. */
export function policyViewOf(store: PolicyStore): PolicyView {
  const meshWide: ProxyDefaultsPolicy | null = proxyDefaults.all(store)[0] ?? null;
  const last = lastViews.get(store);
  const view: PolicyView = {
    proxyDefaults: meshWide,
    defaults: same(last?.defaults, defaultsReader(meshWide?.protocol ?? 'auto').all(store)),
    routers: same(last?.routers, routers.all(store)),
    splitters: same(last?.splitters, splitters.all(store)),
    resolvers: same(last?.resolvers, resolvers.all(store)),
  };
  if (last !== undefined && isSame(last, view)) return last;
  lastViews.set(store, view);
  return view;
}

function same<P>(before: readonly P[] | undefined, now: readonly P[]): readonly P[] {
  return before?.length === now.length && before.every((one, i) => one === now[i]) ? before : now;
}

function isSame(a: PolicyView, b: PolicyView): boolean {
  return (
    a.proxyDefaults === b.proxyDefaults &&
    a.defaults === b.defaults &&
    a.routers === b.routers &&
    a.splitters === b.splitters &&
    a.resolvers === b.resolvers
  );
}

/** An entry in force that this version does not act on, or not wholly. */
export interface UnreadEntry {
  readonly kind: string;
  readonly name: string;
  readonly problem: string;
}

/** What a newer version wrote and this one does not understand; of intentions it denies, all else it does not do. */
export function unreadEntries(entries: Iterable<StoredEntry>): UnreadEntry[] {
  const unread: UnreadEntry[] = [];
  for (const stored of entries) {
    const { kind, name } = stored;
    const form = formOf(kind);
    const understanding =
      form === null
        ? { problem: 'is of a kind that this version does not know' }
        : understandingOf(form, stored);
    if ('problem' in understanding) unread.push({ kind, name, problem: understanding.problem });
  }
  return unread;
}

const understandings = new Map<string, Reader<{ readonly Name: string }, null>>();

function understandingOf(form: Form<{ readonly Name: string }>, stored: StoredEntry): Understanding<null> {
  const kind = stored.kind as EntryKind;
  let reader = understandings.get(kind);
  if (reader === undefined) {
    reader = new Reader(kind, form, () => null);
    understandings.set(kind, reader);
  }
  return reader.read(stored);
}
