/**
 * Record values as peers sent them, checked before anything reads them. A value of the wrong shape counts as
 * absent: its author is admitted, but nobody vouches for what it writes. Fields of later versions are let be.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { Fault, ipVersion, parseJson } from '../core.ts';
import type { Record } from '../gossip/replica/record.ts';
import {
  decodeRecord as decodeEpochRecord,
  maxRecordBytes as maxEpochRecordBytes,
} from '../trust/epoch/record.ts';
import { latestTime } from '../trust/fields.ts';
import { maxColdSeats } from '../trust/frost/cold.ts';
import { maxHeadBytes } from '../trust/log/transparency.ts';
import { maxGeneration } from '../trust/root-record.ts';
import {
  CHECK,
  CHECK_DEFINITION,
  type CheckDefinition,
  type CheckValue,
  HOST,
  type HostValue,
  POLICY_RECEIPT,
  type PolicyReceiptValue,
  RECOVERY,
  type RecoveryDrillValue,
  type RecoveryKeyValue,
  ROOT_ROTATION,
  type RootRotationValue,
  SERVICE,
  type ServiceDefinition,
  type StandaloneCheck,
  serviceNamePattern,
  TRUST_ACCUSATION,
  TRUST_ACK,
  TRUST_EPOCH,
  TRUST_HEAD,
  TRUST_STAND,
  type TrustAccusationValue,
  type TrustAckValue,
  type TrustEpochValue,
  type TrustHeadValue,
  type TrustStandValue,
} from './kinds.ts';

const text = (maxLength: number) => Type.String({ maxLength });
const name = Type.String({ pattern: serviceNamePattern.source });
const port = Type.Integer({ minimum: 0, maximum: 65535 });
const milliseconds = Type.Integer({ minimum: 0, maximum: 366 * 24 * 3_600_000 });
const count = Type.Integer({ minimum: 0, maximum: 10_000 });
const status = Type.Union([Type.Literal('passing'), Type.Literal('warning'), Type.Literal('critical')]);
const checkType = Type.Union(
  (['http', 'tcp', 'grpc', 'ttl', 'script', 'maintenance'] as const).map((type) => Type.Literal(type)),
);

const host = Type.Object({
  name,
  datacenter: name,
  zone: text(63),
  address: text(45),
  gossipPort: port,
  inboundPort: port,
  version: text(64),
});

const check = Type.Object({
  name: text(256),
  status,
  notes: text(4096),
  output: text(8192),
  serviceId: text(256),
  type: checkType,
});

const checkDefinition = Type.Object({
  id: text(256),
  name: text(256),
  notes: text(4096),
  type: checkType,
  target: text(2048),
  method: text(16),
  header: Type.Record(Type.String(), Type.Array(text(4096))),
  body: text(8192),
  tlsSkipVerify: Type.Boolean(),
  args: Type.Array(text(4096), { maxItems: 64 }),
  intervalMs: milliseconds,
  timeoutMs: milliseconds,
  ttlMs: milliseconds,
  successBeforePassing: count,
  failuresBeforeCritical: count,
  failuresBeforeWarning: count,
  deregisterCriticalAfterMs: milliseconds,
  initialStatus: status,
});

const weight = Type.Integer({ minimum: 0, maximum: 65535 });

const service = Type.Object({
  id: text(256),
  name,
  address: text(253),
  port,
  tags: Type.Array(text(256), { maxItems: 256 }),
  meta: Type.Record(Type.String(), text(512)),
  weights: Type.Object({ passing: weight, warning: weight }),
  enableTagOverride: Type.Boolean(),
  user: text(64),
  uid: Type.Union([Type.Integer({ minimum: 0, maximum: 0xffffffff }), Type.Null()]),
  inMesh: Type.Boolean(),
  upstreams: Type.Array(
    Type.Object({ destination: name, bindAddress: text(45), bindPort: port, datacenter: text(63) }),
    { maxItems: 256 },
  ),
  checks: Type.Array(checkDefinition, { maxItems: 64 }),
  source: text(4200),
});

const standaloneCheck = Type.Object({ serviceId: text(256), check: checkDefinition });

const generation = Type.Integer({ minimum: 0, maximum: maxGeneration });
const trustEpoch = Type.Object({
  epoch: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  record: Type.String({
    maxLength: Math.ceil(maxEpochRecordBytes / 3) * 4,
    pattern: '^[A-Za-z0-9+/]*={0,2}$',
  }),
});
const trustAck = Type.Object({
  believes: Type.Array(generation, { maxItems: 64 }),
  uses: generation,
  lastsUntil: Type.Integer({ minimum: 0, maximum: latestTime }),
  externalUntil: Type.Optional(Type.Integer({ minimum: 0, maximum: latestTime })),
  withdrawn: Type.Boolean(),
});
const trustHead = Type.Object({
  head: Type.String({ maxLength: Math.ceil(maxHeadBytes / 3) * 4, pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
});
const trustStand = Type.Object({
  epoch: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
});
const trustAccusation = Type.Object({
  detail: text(256),
  evidence: Type.String({ maxLength: 24 * 1024, pattern: '^[A-Za-z0-9+/]*={0,2}$' }),
  at: Type.Integer({ minimum: 0, maximum: latestTime }),
});
const rootRotation = Type.Object({ generation });
const policyReceipt = Type.Object({ revision: Type.String({ pattern: '^[0-9a-f]{16}$' }) });
const recoveryKey = Type.Object({
  key: Type.String({ pattern: '^(?:[0-9a-f]{64})?$' }),
  seats: Type.Integer({ minimum: 0, maximum: maxColdSeats }),
});
const recoveryDrill = Type.Object({
  epoch: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  at: Type.Integer({ minimum: 0, maximum: latestTime }),
});

const schemas: ReadonlyMap<string, TSchema> = new Map(
  Object.entries({
    [HOST]: host,
    [SERVICE]: service,
    [CHECK]: check,
    [CHECK_DEFINITION]: standaloneCheck,
    [TRUST_EPOCH]: trustEpoch,
    [TRUST_ACK]: trustAck,
    [TRUST_HEAD]: trustHead,
    [TRUST_ACCUSATION]: trustAccusation,
    [TRUST_STAND]: trustStand,
    [ROOT_ROTATION]: rootRotation,
    [POLICY_RECEIPT]: policyReceipt,
    [`${RECOVERY}/key`]: recoveryKey,
    [`${RECOVERY}/drill`]: recoveryDrill,
  }),
);
const compiled = new Map<string, Validator>();

/** Compiled with the first value of its kind: an agent meets few of the kinds when it starts. */
function validatorOf(name: string): Validator | undefined {
  const known = compiled.get(name);
  if (known !== undefined) return known;
  const schema = schemas.get(name);
  if (schema === undefined) return undefined;
  const validator = Compile(schema);
  compiled.set(name, validator);
  return validator;
}

/** The schemas must stay assignable to the types they guard. */
type Guards<S extends TSchema, T> = Static<S> extends T ? true : never;
const guards: [
  Guards<typeof host, HostValue>,
  Guards<typeof check, CheckValue>,
  Guards<typeof service, ServiceDefinition>,
  Guards<typeof checkDefinition, CheckDefinition>,
  Guards<typeof standaloneCheck, StandaloneCheck>,
  Guards<typeof trustEpoch, TrustEpochValue>,
  Guards<typeof trustAck, TrustAckValue>,
  Guards<typeof trustHead, TrustHeadValue>,
  Guards<typeof trustAccusation, TrustAccusationValue>,
  Guards<typeof trustStand, TrustStandValue>,
  Guards<typeof rootRotation, RootRotationValue>,
  Guards<typeof policyReceipt, PolicyReceiptValue>,
  Guards<typeof recoveryKey, RecoveryKeyValue>,
  Guards<typeof recoveryDrill, RecoveryDrillValue>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true];
void guards;

/** Whether its root signed it is for the chain of epochs to say. */
function checkEpoch({ epoch, record }: TrustEpochValue): void {
  const { plan } = decodeEpochRecord(Buffer.from(record, 'base64')).descriptor;
  if (plan.epoch !== epoch)
    throw new Fault('malformed', `trust-epoch/record is of epoch ${plan.epoch}, not ${epoch}`);
}

/**
 * The value of a record of a kind that this agent reads: null for a tombstone. Throws `Fault('malformed')`
 * when it is not of its kind's shape, or says it is another slot's or another epoch's.
 */
export function decodeValue(record: Record): unknown {
  if (record.deleted) return null;
  const value = parseJson(record.value);
  const shape = validatorOf(record.kind === RECOVERY ? `${RECOVERY}/${record.key}` : record.kind);
  if (shape !== undefined && !shape.Check(value)) {
    const [first] = shape.Errors(value);
    throw new Fault(
      'malformed',
      `${record.kind}${first?.instancePath ?? ''} ${first?.message ?? 'is malformed'}`,
    );
  }
  if (record.kind === SERVICE && (value as ServiceDefinition).id !== record.key)
    throw new Fault('malformed', 'service/id is not the key of its record');
  if (record.kind === TRUST_EPOCH) checkEpoch(value as TrustEpochValue);
  if (record.kind === HOST && ipVersion((value as HostValue).address) === 0)
    throw new Fault('malformed', 'host/address is not an IP address');
  return value;
}
