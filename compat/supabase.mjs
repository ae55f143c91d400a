// A client of @supabase/auth-js, and what its answers look like when they are
// refusals.

import assert from 'node:assert/strict';
import { AuthClient, isAuthApiError } from '@supabase/auth-js';
import { CHROME, PASSWORD, memory, someone } from './harness.mjs';

let count = 0;

// newClient is a client with an empty memory of its own, in the browser that
// openLink is, too. It refreshes only when it must, so that tests say when.
export function newClient(server, { headers, ...options } = {}) {
  return new AuthClient({
    url: server.url,
    autoRefreshToken: false,
    persistSession: true,
    detectSessionInUrl: false,
    storage: memory(),
    storageKey: `compat-${++count}`,
    headers: { 'User-Agent': CHROME, ...headers },
    ...options,
  });
}

// signedUp signs somebody up who need not confirm the address.
export async function signedUp(server, options) {
  const auth = newClient(server, options);
  const email = someone();
  const { data, error } = await auth.signUp({ email, password: PASSWORD });
  assert.equal(error, null);
  assert.ok(data.session, 'signed in at once');
  return { auth, email, session: data.session, user: data.user };
}

// refused checks that an answer is the refusal a client of Supabase expects,
// and returns it.
export function refused({ error }, code, status) {
  assert.ok(error, `expected ${code}, got no error`);
  assert.ok(isAuthApiError(error), `expected ${code}, got ${error}`);
  assert.deepEqual({ code: error.code, status: error.status }, { code, status }, error.message);
  return error;
}

// adminWith is a client of the operator's API with that key.
export const adminWith = (server, key) => newClient(server, { headers: { apikey: key, Authorization: `Bearer ${key}` } }).admin;

// tokensOf are the tokens a link leaves in the address.
export const tokensOf = (to) => ({ access_token: to.fragment.get('access_token'), refresh_token: to.fragment.get('refresh_token') });

// inBrowserAt gives the client the few things of a browser it looks at.
export function inBrowserAt(t, href) {
  const location = new URL(href);
  const { BroadcastChannel } = globalThis; // left out: an open one keeps the process alive
  delete globalThis.BroadcastChannel;
  globalThis.window = { location, addEventListener() {}, removeEventListener() {}, history: { replaceState() {}, state: null } };
  globalThis.document = { visibilityState: 'visible', addEventListener() {}, removeEventListener() {} };
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
    globalThis.BroadcastChannel = BroadcastChannel;
  });
}
