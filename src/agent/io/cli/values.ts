/**
 * What users may write for options and arguments, judged before anything is asked of an agent: what cannot be
 * right is misuse (exit 2), not a refusal.
 */
import { Argument, InvalidArgumentError } from 'commander';
import { Fault } from '../../../core.ts';
import { grantRoles, maxGrantServices, maxGrantUses } from '../../../trust/admission/grant.ts';
import { idPattern } from '../../consul/check-definition.ts';
import { parseDuration, parseDurationBetween } from '../../consul/duration.ts';
import { supportedKinds } from '../../entries/kinds.ts';
import { serviceNamePattern } from '../../kinds.ts';
import { maxTokenTtlMs, minTokenTtlMs } from '../../port.ts';
import { httpAddress } from '../../settings.ts';

type Reader<T> = (text: string) => T;

function matching(pattern: RegExp, what: string): Reader<string> {
  return (text) => {
    if (!pattern.test(text)) throw new InvalidArgumentError(`It must be ${what}.`);
    return text;
  };
}

/** As `src/trust/frost/cold.ts` has it, which would bring the arithmetic of curves along. */
const maxColdSeats = 6;

const serviceName = matching(serviceNamePattern, 'a service name: a-z, 0-9 and -, at most 63');

/** A service name, or `*` for any. */
function party(text: string): string {
  if (text !== '*' && !serviceNamePattern.test(text))
    throw new InvalidArgumentError('It must be a service name (a-z, 0-9 and -, at most 63), or * for any.');
  return text;
}

/** A path or the like, which may be anything but nothing. */
export const notEmpty: Reader<string> = matching(/^[^\0]+$/, 'something');

/** The id of a service. */
export const serviceId: Reader<string> = matching(
  idPattern,
  'a service id: no spaces, at most 200 characters',
);

/** Why, in words: as much as is kept of it. */
export const reason: Reader<string> = matching(/^[^\p{Cc}]{0,512}$/u, 'one line of at most 512 characters');

/** The id of a token, or the beginning of one. */
export const tokenIdPrefix: Reader<string> = matching(
  /^[0-9a-f]{1,16}$/,
  'an id or the beginning of one, as `starling token list` shows them',
);

/** The revision of a config entry, or the beginning of one. */
export const revisionPrefix: Reader<string> = matching(
  /^[0-9a-f]{1,12}$/,
  'a revision or the beginning of one, as `starling config history` shows them',
);

export const methodName: Reader<string> = matching(/^[A-Za-z]{1,32}$/, 'a method such as GET');

/** What stands in a request line, where everything else is written as %XX. */
export const requestPath: Reader<string> = matching(
  /^\/[!-~]{0,4095}$/,
  'a path that starts with /, anything but ASCII as %XX, at most 4096 characters',
);

/** For an option that may be given several times, each a header of a request. */
export function anotherHeader(text: string, before: readonly string[]): readonly string[] {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+[:=][^\r\n]*$/.test(text))
    throw new InvalidArgumentError('It must be NAME:VALUE.');
  return [...before, text];
}

/** For an option that may be given several times, each a service name. */
export function anotherService(text: string, before: readonly string[]): readonly string[] {
  const name = serviceName(text);
  if (before.length >= maxGrantServices)
    throw new InvalidArgumentError(`A token names at most ${maxGrantServices} services.`);
  return before.includes(name) ? before : [...before, name];
}

/** For an option that may be given several times, each a role of a token's holder. */
export function anotherRole(text: string, before: readonly string[]): readonly string[] {
  if (!grantRoles.some((role) => role === text))
    throw new InvalidArgumentError(`It must be one of ${grantRoles.join(', ')}.`);
  return before.includes(text) ? before : [...before, text];
}

export function tokenUses(text: string): number {
  const uses = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (uses < 1 || uses > maxGrantUses)
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${maxGrantUses}.`);
  return uses;
}

/** Left as it was written: the agent reads it again. */
export function tokenTtl(text: string): string {
  return sentence(() => {
    parseDurationBetween(text, '', minTokenTtlMs, maxTokenTtlMs);
    return text;
  });
}

/** How many shares of the root are put away at most. */
export function coldSeats(text: string): number {
  const seats = /^\d$/.test(text) ? Number(text) : 0;
  if (seats < 1 || seats > maxColdSeats)
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${maxColdSeats}.`);
  return seats;
}

/** How long to wait for something. Left as it was written. */
export function waitTimeout(text: string): string {
  return sentence(() => {
    parseDuration(text, '');
    return text;
  });
}

/** Where an agent's API is: `ADDRESS:PORT`, `http://ADDRESS[:PORT]` or `unix:PATH`. */
export function apiAddress(text: string): string {
  const url = /^http:\/\//.test(text) ? URL.parse(text) : null;
  if (url !== null && url.pathname === '/' && url.search === '' && url.username === '') return text;
  return sentence(() => {
    const where = httpAddress(text);
    if ('port' in where && where.port === 0) throw new InvalidArgumentError('No agent listens on port 0.');
    return text;
  });
}

/** Turns a fault about a value into commander's words, without the name of the field in front. */
function sentence<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const message = error.message.replace(/^[\w-]*: /, '');
    throw new InvalidArgumentError(`${message.charAt(0).toUpperCase()}${message.slice(1)}.`);
  }
}

/** One service by its name. */
export function serviceArgument(name: string, description: string): Argument {
  return new Argument(name, description).argParser((text) => {
    if (!serviceNamePattern.test(text)) throw new InvalidArgumentError('Not a service name.');
    return text;
  });
}

/** A service, or that of another datacenter: `api@dc2`. */
export function destinationArgument(name: string, description: string): Argument {
  return new Argument(name, description).argParser((text) => {
    const parts = text.split('@');
    if (parts.length > 2 || !parts.every((part) => serviceNamePattern.test(part)))
      throw new InvalidArgumentError('Not a service name, nor SERVICE@DATACENTER.');
    return text;
  });
}

/** `<source>` or `<destination>`. */
export function partyArgument(name: string): Argument {
  return new Argument(name, 'a service, or * for any').argParser(party);
}

/** `<kind>` or `[kind]` of a config entry. */
export function kindArgument(name: string): Argument {
  return new Argument(name, 'kind of config entry').choices(supportedKinds);
}

/** `<name>` of a config entry. */
export function entryNameArgument(): Argument {
  return new Argument('<name>', 'name of the entry: a service, or * for any').argParser(party);
}
