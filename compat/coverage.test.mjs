// No method of a client is missing: each that the packages have is in
// methods.mjs, and the test it names there calls it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { AuthClient, GoTrueAdminApi, GoTrueClient } from '@supabase/auth-js';
import { asBrowser, hushHTTP } from './browser.mjs';
import { SITE } from './harness.mjs';
import { gotrueJS, netlifyIdentity, supabase } from './methods.mjs';

hushHTTP();
asBrowser(SITE);
const { default: GoTrue1 } = await import('gotrue-js');
const zero = await import('gotrue-js-0');
const GoTrue0 = zero.default.default ?? zero.default;
const identity = await import('@netlify/identity');

// methodsOf are the functions of an object or a prototype that are not marked
// as its own business.
function methodsOf(o) {
  return Object.entries(Object.getOwnPropertyDescriptors(o))
    .filter(([name, d]) => typeof d.value === 'function' && name !== 'constructor' && !name.startsWith('_') && !/^class\b/.test(String(d.value)))
    .map(([name]) => name);
}

const reason = /^(later step|inside|no server): ./;

// matches checks that a list has exactly what a package has, and that tests
// call it.
function matches(list, has) {
  assert.deepEqual(Object.keys(list).sort(), [...new Set(has)].sort());
  for (const [name, where] of Object.entries(list)) {
    if (reason.test(where)) continue;
    const source = readFileSync(new URL(where, import.meta.url), 'utf8').replace(/^\s*\/\/.*$/gm, '');
    assert.match(source, new RegExp(`\\.${name}\\(`), `${where} does not call ${name}`);
  }
}

describe('@supabase/auth-js', () => {
  const client = new AuthClient({ url: 'http://127.0.0.1:9', autoRefreshToken: false, persistSession: false });
  // A part of a client is an object of functions, or an instance of a class.
  const part = (o) => [...methodsOf(o), ...(Object.getPrototypeOf(o) === Object.prototype ? [] : methodsOf(Object.getPrototypeOf(o)))];
  const parts = (o) => Object.keys(o).filter((k) => o[k] && typeof o[k] === 'object' && part(o[k]).length > 0);
  const has = {
    client: methodsOf(GoTrueClient.prototype),
    admin: methodsOf(GoTrueAdminApi.prototype),
    ...Object.fromEntries(parts(client.admin).map((k) => [`admin.${k}`, part(client.admin[k])])),
    ...Object.fromEntries(['mfa', 'oauth', 'passkey'].map((k) => [`client.${k}`, part(client[k])])),
    ...Object.fromEntries(parts(client.mfa).map((k) => [`client.mfa.${k}`, part(client.mfa[k])])),
  };
  test('has no parts that nobody knows of', () => assert.deepEqual(Object.keys(has).sort(), Object.keys(supabase).sort()));
  for (const [name, methods] of Object.entries(has)) test(name, () => matches(supabase[name], methods));
});

describe('gotrue-js, both versions', () => {
  const users = [GoTrue1, GoTrue0].map(userOf);
  const both = (f) => [GoTrue1, GoTrue0].flatMap((_, n) => f(n));
  test('client', () => matches(gotrueJS.client, both((n) => methodsOf([GoTrue1, GoTrue0][n].prototype))));
  test('user', () => matches(gotrueJS.user, both((n) => methodsOf(Object.getPrototypeOf(users[n])))));
  test('user (static)', () => matches(gotrueJS['user (static)'], both((n) => methodsOf(users[n].constructor))));
  test('admin', () => matches(gotrueJS.admin, both((n) => methodsOf(Object.getPrototypeOf(users[n].admin)))));
});

// userOf is a user as a version has it, found where a browser remembers it:
// the package does not export the class.
function userOf(GoTrue) {
  const token = { access_token: 'a.e30.b', refresh_token: 'r', expires_in: 3600, expires_at: Date.now() + 3_600_000, token_type: 'bearer' };
  localStorage.setItem('gotrue.user', JSON.stringify({ url: 'http://127.0.0.1:9', token, audience: '' }));
  const user = new GoTrue({ APIUrl: 'http://127.0.0.1:9' }).currentUser();
  assert.ok(user);
  return user;
}

describe('@netlify/identity', () => {
  test('exports', () => matches(netlifyIdentity.exports, methodsOf({ ...identity })));
  test('admin', () => matches(netlifyIdentity.admin, methodsOf(identity.admin)));
});
