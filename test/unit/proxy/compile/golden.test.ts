import { compile } from '../../../../src/proxy/compile/compile.ts';
import type { MeshView } from '../../../../src/proxy/view.ts';
import { goldenSuite } from '../../../golden/golden.ts';

goldenSuite('compile', (input) => compile(input as MeshView));
