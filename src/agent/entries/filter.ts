/** What `?filter` may ask of config entries of a kind: whatever their form says, beside what the API adds. */
import { boolean, list, map, number, object, type Shape, string } from '../../proxy/filter/shape.ts';
import { formOf } from './entry.ts';
import type { JsonSchema } from './form.ts';

const shapes = new Map<string, Shape>();

/** For a kind that is one of the supported. */
export function entryShape(kind: string): Shape {
  let shape = shapes.get(kind);
  if (shape === undefined) {
    const { properties } = formOf(kind)!.schema;
    const fields = shapesOf(properties as { readonly [field: string]: JsonSchema });
    shape = object({ ...fields, CreateIndex: number, ModifyIndex: number });
    shapes.set(kind, shape);
  }
  return shape;
}

function shapesOf(properties: { readonly [field: string]: JsonSchema }): { [field: string]: Shape } {
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, shapeOf(schema)]));
}

function shapeOf({ type, properties, items, additionalProperties }: JsonSchema): Shape {
  // Durations are written as texts or as numbers; entries in normal form have texts.
  if (type === 'integer' || type === 'number') return number;
  if (type === 'boolean') return boolean;
  if (type === 'array') return list(shapeOf(items as JsonSchema));
  if (type !== 'object') return string;
  if (typeof additionalProperties === 'object') return map(shapeOf(additionalProperties as JsonSchema));
  return object(shapesOf((properties ?? {}) as { readonly [field: string]: JsonSchema }));
}

/** A value with what it does not say as Consul's expressions see it: '', 0, false, and nothing inside. */
export function completed(value: unknown, shape: Shape): unknown {
  switch (shape.kind) {
    case 'string':
      return value ?? '';
    case 'number':
      return value ?? 0;
    case 'boolean':
      return value ?? false;
    case 'list':
      return value ?? [];
    case 'map':
      return value ?? {};
    case 'object': {
      const said = (value ?? {}) as { readonly [field: string]: unknown };
      const fields = Object.entries(shape.fields);
      return Object.fromEntries(fields.map(([name, of]) => [name, completed(said[name], of)]));
    }
  }
}
