import { describe } from 'node:test';
import { GoTrue1, suite } from './gotrue-js.test.mjs';

describe('gotrue-js 1.0.1, GATEHOUSE_DIALECT=netlify', () => suite(GoTrue1, { GATEHOUSE_DIALECT: 'netlify' }));
