/** What the data that a filter looks at is like: so that a selector that can never match is refused at once. */

export type Shape =
  | { readonly kind: 'string' | 'number' | 'boolean' }
  | { readonly kind: 'list'; readonly of: Shape }
  /** Any key; those that are missing are no error. */
  | { readonly kind: 'map'; readonly of: Shape }
  /** These fields and no others. */
  | { readonly kind: 'object'; readonly fields: Readonly<{ [name: string]: Shape }> };

export const string: Shape = { kind: 'string' };
export const number: Shape = { kind: 'number' };
export const boolean: Shape = { kind: 'boolean' };

export function list(of: Shape): Shape {
  return { kind: 'list', of };
}

export function map(of: Shape): Shape {
  return { kind: 'map', of };
}

export function object(fields: Readonly<{ [name: string]: Shape }>): Shape {
  return { kind: 'object', fields };
}

/** What a selector leads to; null when there is nothing of this name. */
export function shapeAt(shape: Shape, path: readonly string[]): Shape | null {
  let at = shape;
  for (const name of path) {
    if (at.kind === 'map') at = at.of;
    else if (at.kind === 'object' && Object.hasOwn(at.fields, name)) at = at.fields[name]!;
    else return null;
  }
  return at;
}
