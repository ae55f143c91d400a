import { describe } from 'node:test';
import { GoTrue0, suite } from './gotrue-js.test.mjs';

describe('gotrue-js 0.9.29, GATEHOUSE_DIALECT=netlify', () => suite(GoTrue0, { GATEHOUSE_DIALECT: 'netlify' }));
