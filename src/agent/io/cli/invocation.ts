/** What every command shares: its options, its client, and how it ends. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { Fault } from '../../../core.ts';
import { ApiClient } from './client.ts';
import { print, printJson } from './output.ts';
import { apiAddress, notEmpty } from './values.ts';

export interface CommonOptions {
  readonly http: string;
  readonly json?: boolean;
  readonly operatorTokenFile?: string;
  readonly dataDir?: string;
}

const defaultHttp = '127.0.0.1:8500';

/** Takes an option from the environment too, where an empty value counts as none. */
function orFromEnvironment(option: Option, name: string): Option {
  return process.env[name] === undefined || process.env[name] === '' ? option : option.env(name);
}

/** Adds the options that every command takes. */
export function common(command: Command): Command {
  const http = new Option('--http <address>', 'the agent: ADDRESS:PORT or unix:PATH')
    .default(defaultHttp)
    .argParser(apiAddress);
  return command
    .addOption(orFromEnvironment(http, 'STARLING_HTTP'))
    .option('--json', 'print JSON')
    .option(
      '--operator-token-file <file>',
      'the operator token; an agent of another host answers nobody without one (env: STARLING_OPERATOR_TOKEN_FILE)',
      notEmpty,
    );
}

/** Adds the options of commands that need an operator. */
export function operatorCommand(command: Command): Command {
  return common(command).option(
    '--data-dir <dir>',
    "the agent's data directory, to look for the token where no file is named",
    notEmpty,
  );
}

/** One run of a command. */
export class Invocation {
  readonly client: ApiClient;
  private readonly options: CommonOptions;
  private found: Promise<string> | null = null;

  constructor(options: CommonOptions) {
    this.options = options;
    // Read with the first request: what asks no agent needs no token.
    this.client = new ApiClient(options.http, () =>
      this.found === null && !this.namesToken() ? null : this.operatorToken(),
    );
  }

  get json(): boolean {
    return this.options.json === true;
  }

  /** Prints `value` as JSON when asked to, else the text. */
  show(value: unknown, text: () => string): void {
    if (this.json) printJson(value);
    else print(text());
  }

  /** Text of the operator token; `Fault('operator-token-missing')` says where it was looked for. */
  operatorToken(): Promise<string> {
    this.found ??= this.findToken();
    return this.found;
  }

  /** Whether the user says where the token is, so that what needs none is asked with it too. */
  private namesToken(): boolean {
    return this.tokenFile() !== null || this.options.dataDir !== undefined;
  }

  private tokenFile(): string | null {
    const named = this.options.operatorTokenFile ?? process.env.STARLING_OPERATOR_TOKEN_FILE;
    return named === undefined || named === '' ? null : named;
  }

  private async findToken(): Promise<string> {
    // Loaded for the commands that need it: it brings the certificate library along.
    const { operatorTokenFile, readSecret } = await import('../../../trust/io/keys.ts');
    const named = this.tokenFile();
    const dataDir = this.options.dataDir ?? process.env.STARLING_DATA_DIR;
    const places =
      named !== null
        ? [named]
        : dataDir !== undefined
          ? [join(dataDir, operatorTokenFile)]
          : [join('starling-data', operatorTokenFile), join('/var/lib/starling', operatorTokenFile)];
    for (const place of places) {
      const secret = await readSecret(place);
      if (secret !== null) return tokenText(secret, place);
    }
    if (named !== null) throw new Fault('operator-token-missing', `there is no operator token at ${named}`);
    throw new Fault(
      'operator-token-missing',
      `this needs an operator token, and there is none at ${places.join(' or ')}; use --operator-token-file`,
    );
  }
}

/** What could not stand in a header is no token. */
function tokenText(content: Buffer, place: string): string {
  const text = content.toString('utf8').trim();
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new Fault('token-malformed', `${place} does not hold an operator token`);
}

/** Runs a command's body with an invocation and closes it; the body's number is the exit code. */
export async function run(
  options: CommonOptions,
  body: (invocation: Invocation) => Promise<number | undefined>,
): Promise<void> {
  const invocation = new Invocation(options);
  try {
    process.exitCode = (await body(invocation)) ?? 0;
  } finally {
    await invocation.client.close();
  }
}

/** Path segments of names that users choose. */
export const segment = encodeURIComponent;
