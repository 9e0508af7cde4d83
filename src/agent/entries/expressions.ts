/** Expressions that users write, compiled once when they are written so that none can fail when it is used. */
import { Fault } from '../../core.ts';
import { compileFilter } from '../../proxy/filter/filter.ts';
import { instanceShape } from '../../proxy/filter/instance.ts';
import { compileRegex, maxRegexLength } from '../../proxy/regex/regex.ts';
import { fault } from '../consul/fields.ts';
import { described, type Form, text } from './form.ts';

function compiled(of: Form<string>, compile: (expression: string) => unknown): Form<string> {
  return {
    schema: of.schema,
    read(value, path) {
      const expression = of.read(value, path);
      if (expression === undefined) return undefined;
      try {
        compile(expression);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        throw fault(error.code, path, `"${expression}": ${error.message}`);
      }
      return expression;
    },
  };
}

/** RE2's syntax. */
export const regex: Form<string> = described(
  compiled(text({ most: maxRegexLength }), compileRegex),
  'A regular expression in RE2’s syntax; it matches the whole value.',
);

/** Consul's filter expression over an instance. */
export const instanceFilter: Form<string> = described(
  compiled(text({ most: 2048 }), (expression) => compileFilter(expression, instanceShape)),
  'A filter expression over an instance, such as `Service.Meta.version == v2`.',
);
