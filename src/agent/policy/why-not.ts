/**
 * The smallest changes that would let a call through. Each is tried out on a copy of the mesh as this host sees it:
 * what does not help is not proposed.
 */
import { compile } from '../../proxy/compile/compile.ts';
import { type Call, type CallTrace, type TargetTrace, traceCall } from '../../proxy/explain.ts';
import { wildcard } from '../../proxy/intentions.ts';
import type { PermissionPolicy } from '../../proxy/policy.ts';
import type { IntentionView, MeshView } from '../../proxy/view.ts';
import { nearest } from '../consul/fields.ts';

export interface ProposedChange {
  /** One sentence. */
  readonly change: string;
  /** What to type; null where there is no one command. */
  readonly command: string | null;
  /** What becomes of the call by this change alone; null where that cannot be tried out. */
  readonly then: CallTrace['verdict'] | null;
}

/** Empty where the call goes through already, or where nothing that policy can say would help. */
export function changesThatAllow(view: MeshView, call: Call, trace: CallTrace): ProposedChange[] {
  if (trace.verdict === 'forwarded') return [];
  if (trace.destination === null) return [unknownDestination(view, call)];
  const changes: ProposedChange[] = [];
  const { rule = '', fault = null } = trace.route?.route ?? {};
  if (fault?.abort) changes.push(withoutFault(rule));
  for (const [index, target] of trace.targets.entries()) {
    if (target.cluster === null) changes.push(withoutEndpoint(target, call));
    if (!target.authorization.allowed) changes.push(...allowances(view, call, trace, index));
  }
  return unique(changes);
}

function unique(changes: readonly ProposedChange[]): ProposedChange[] {
  return [...new Map(changes.map((change) => [change.change, change])).values()];
}

function withoutFault(rule: string): ProposedChange {
  const [record = '', index] = rule.split('#');
  return {
    change: `take Routes[${index}].Destination.Fault.Abort out of ${record}`,
    command: `starling config read ${record.replace('/', ' ')}`,
    then: null,
  };
}

function unknownDestination(view: MeshView, { source, destination }: Call): ProposedChange {
  const names = view.services.map(({ name }) => name);
  const near =
    nearest(destination, names) ??
    names.find((name) => name.includes(destination) || destination.includes(name));
  return {
    change: `register an instance of ${destination}${near === undefined ? '' : `, or call ${near}`}`,
    command: near === undefined ? null : `starling explain ${source} ${near}`,
    then: null,
  };
}

function withoutEndpoint({ clusters }: TargetTrace, call: Call): ProposedChange {
  const first = clusters[0];
  const id = first?.id ?? call.destination;
  const out = first?.outOfRotation ?? 0;
  const which = out === 1 ? `the instance of ${id} that is` : `one of the ${out} instances of ${id} that are`;
  return {
    change:
      out > 0
        ? `bring ${which} out of rotation back: its host alive, its checks passing, no maintenance`
        : `register an instance that belongs to ${id}`,
    command: null,
    then: null,
  };
}

/**
 * An intention for exactly this pair; at layer 7 a permission for exactly this request, before all others. Left out
 * where the target denies the call all the same; whatever else stands in its way is another change.
 */
function allowances(
  view: MeshView,
  call: Call,
  { route, targets }: CallTrace,
  index: number,
): ProposedChange[] {
  const { authorization, clusters, cluster } = targets[index]!;
  const service = (cluster ?? clusters[0])?.service ?? call.destination;
  const { source } = call;
  const proposed = (change: string, command: string, changed: Change): ProposedChange[] => {
    const after = traceWith(view, call, changed);
    return after.targets[index]?.authorization.allowed ? [{ change, command, then: after.verdict }] : [];
  };
  if (authorization.isLayer7 && authorization.source === source) {
    const method = call.method.toUpperCase();
    // What the callee's proxy gets to see.
    const path = (route?.forwardedPath ?? call.path).split('?')[0]!;
    const permission: PermissionPolicy = {
      action: 'allow',
      match: {
        path: { type: 'exact', value: path, ignoreCase: false },
        headers: [],
        query: [],
        methods: [method],
      },
    };
    return proposed(
      `add a permission to ${authorization.rule} that lets ${source} ${method} ${path}, before the others`,
      `starling config read service-intentions ${service}`,
      (intentions) => withPermission(intentions, source, service, permission),
    );
  }
  const isOwn = authorization.source !== wildcard && authorization.rule !== null;
  return proposed(
    `allow ${source} to call ${service}${isOwn ? `, which ${authorization.rule} denies` : ''}`,
    `starling intention create ${source} ${service} --allow`,
    (intentions) => withAllowance(intentions, source, service),
  );
}

type Change = (intentions: readonly IntentionView[]) => IntentionView[];

function traceWith(view: MeshView, call: Call, change: Change): CallTrace {
  const changed = { ...view, intentions: change(view.intentions) };
  return traceCall(compile(changed), changed, call);
}

function isFor(source: string, destination: string): (intention: IntentionView) => boolean {
  return (intention) => intention.source === source && intention.destination === destination;
}

function withAllowance(
  intentions: readonly IntentionView[],
  source: string,
  destination: string,
): IntentionView[] {
  const rule = `service-intentions/${destination}`;
  const others = intentions.filter((intention) => !isFor(source, destination)(intention));
  return [...others, { source, destination, action: 'allow', permissions: null, rule }];
}

function withPermission(
  intentions: readonly IntentionView[],
  source: string,
  destination: string,
  permission: PermissionPolicy,
): IntentionView[] {
  return intentions.map((intention) =>
    isFor(source, destination)(intention) && intention.permissions !== null
      ? { ...intention, permissions: [permission, ...intention.permissions] }
      : intention,
  );
}
