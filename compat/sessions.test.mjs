// The sessions of a user, one by one: an API of Gatehouse's own, so it is
// asked with plain requests, beside the clients that opened the sessions.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthSessionMissingError } from '@supabase/auth-js';
import { CHROME, FIREFOX, OPERATOR, PASSWORD, SECRET, ask, decode, sleep, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused, signedUp } from './supabase.mjs';

let mail;
let server;

before(async () => {
  mail = await startMail();
  server = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' });
});

after(async () => {
  await server?.stop();
  await mail?.stop();
});

// call asks for a path with somebody's token.
async function call(token, method, path, body) {
  const headers = { 'X-Supabase-Api-Version': '2024-01-01', ...(token && { Authorization: `Bearer ${token}` }) };
  if (body) headers['Content-Type'] = 'application/json';
  const { status, json } = await ask(method, server.url + path, { headers, body: body && JSON.stringify(body) });
  return { status, json };
}

// twice is somebody who is signed in with two browsers.
async function twice() {
  const { auth: here, email, user } = await signedUp(server);
  const there = newClient(server, { headers: { 'User-Agent': FIREFOX } });
  assert.equal((await there.signInWithPassword({ email, password: PASSWORD })).error, null);
  const token = async (c) => (await c.getSession()).data.session.access_token;
  const [mine, theirs] = [await token(here), await token(there)];
  return { here, there, mine, theirs, user, myID: decode(mine).claims.session_id, theirID: decode(theirs).claims.session_id };
}

describe('a user’s sessions', { concurrency: true }, () => {
  // Mission: T09, T13
  test('are listed, newest first', async () => {
    const { mine, myID, theirID } = await twice();
    const { status, json } = await call(mine, 'GET', '/sessions');
    assert.equal(status, 200);
    assert.deepEqual(json.sessions.map((s) => s.id), [theirID, myID]);
    assert.deepEqual(json.sessions.map((s) => s.current), [false, true]);
    assert.deepEqual(json.sessions.map((s) => s.device), ['Firefox on Windows', 'Chrome on Linux']);
    assert.deepEqual(json.sessions.map((s) => s.user_agent), [FIREFOX, CHROME]);
    for (const s of json.sessions) {
      assert.equal(s.ip, '127.0.0.1');
      assert.equal(s.aal, 'aal1');
      assert.equal(s.amr[0].method, 'password');
      for (const k of ['created_at', 'refreshed_at']) assert.ok(Date.parse(s[k]), k);
      assert.equal(s.ended_at, undefined);
    }
    assert.equal((await call('', 'GET', '/sessions')).status, 401);
    assert.equal((await call('rubbish', 'GET', '/sessions')).json.code, 'bad_jwt');
  });

  test('have a name, if the user wants one', async () => {
    const { mine, theirs, theirID } = await twice();
    const { status, json } = await call(mine, 'PATCH', `/sessions/${theirID}`, { name: '  Küche  ' });
    assert.equal(status, 200);
    assert.equal(json.name, 'Küche');
    assert.equal(json.id, theirID);
    assert.equal((await call(theirs, 'GET', '/sessions')).json.sessions.find((s) => s.id === theirID).name, 'Küche');
    assert.equal((await call(mine, 'PATCH', `/sessions/${theirID}`, { name: '' })).json.name, '');
    for (const body of [{}, { name: 'x'.repeat(101) }, { name: 'two\nlines' }]) {
      assert.equal((await call(mine, 'PATCH', `/sessions/${theirID}`, body)).json.code, 'validation_failed');
    }
  });

  // Mission: T10
  test('are ended one by one', async () => {
    const { here, there, mine, theirs, theirID, myID } = await twice();
    assert.equal((await call(mine, 'DELETE', `/sessions/${theirID}`)).status, 204);
    assert.ok(isAuthSessionMissingError((await newClient(server).getUser(theirs)).error));
    assert.ok((await there.refreshSession()).error);
    assert.equal((await here.getUser()).error, null);
    assert.equal((await call(mine, 'DELETE', `/sessions/${theirID}`)).json.code, 'session_not_found');
    assert.deepEqual((await call(mine, 'GET', '/sessions')).json.sessions.map((s) => s.id), [myID]);
    assert.equal((await call(mine, 'DELETE', `/sessions/${myID}`)).status, 204);
    assert.ok(isAuthSessionMissingError((await here.getUser()).error));
  });

  // Mission: T10
  test('of somebody else are not there', async () => {
    const [ann, eve] = [await twice(), await twice()];
    for (const id of [ann.myID, crypto.randomUUID(), 'none']) {
      assert.deepEqual([id, (await call(eve.mine, 'DELETE', `/sessions/${id}`)).json.code], [id, 'session_not_found']);
      assert.deepEqual([id, (await call(eve.mine, 'PATCH', `/sessions/${id}`, { name: 'x' })).json.code], [id, 'session_not_found']);
    }
    assert.equal((await ann.here.getUser()).error, null);
  });

  // Mission: T12
  test('are ended but for one', async () => {
    const { here, mine, theirs, myID } = await twice();
    assert.equal((await here.signOut({ scope: 'others' })).error, null);
    assert.deepEqual((await call(mine, 'GET', '/sessions')).json.sessions.map((s) => s.id), [myID]);
    assert.ok(isAuthSessionMissingError((await newClient(server).getUser(theirs)).error));
  });
});

describe('an operator', { concurrency: true }, () => {
  // Mission: T09, T10, T11
  test('sees a user’s sessions, also how they ended, and ends them', async () => {
    const { here, mine, theirs, user, myID, theirID } = await twice();
    const of = `/admin/users/${user.id}/sessions`;
    assert.deepEqual((await call(OPERATOR, 'GET', of)).json.sessions.map((s) => s.id), [theirID, myID]);
    assert.equal((await call(mine, 'GET', of)).json.code, 'not_admin');
    assert.equal((await call(OPERATOR, 'DELETE', `${of}/${theirID}`)).status, 204);
    assert.ok(isAuthSessionMissingError((await newClient(server).getUser(theirs)).error));
    assert.equal((await here.getUser()).error, null);
    assert.equal((await call(OPERATOR, 'DELETE', of)).status, 204);
    assert.ok(isAuthSessionMissingError((await here.getUser()).error));
    const { sessions } = (await call(OPERATOR, 'GET', of)).json;
    assert.equal(sessions.length, 2);
    for (const s of sessions) {
      assert.ok(Date.parse(s.ended_at), s.id);
      assert.ok(s.end_reason, s.id);
    }
    assert.equal(sessions.find((s) => s.id === theirID).end_reason, 'ended by an administrator');
    for (const path of [`/admin/users/${crypto.randomUUID()}/sessions`, `/admin/users/none/sessions`]) {
      for (const method of ['GET', 'DELETE']) assert.equal((await call(OPERATOR, method, path)).status, 404, `${method} ${path}`);
    }
  });
});

describe('settings of sessions', { concurrency: true }, () => {
  const during = async (settings, f) => {
    const other = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true', ...settings });
    try {
      await f(other);
    } finally {
      await other.stop();
    }
  };

  test('leave a user only the newest', () =>
    during({ GOTRUE_SESSIONS_SINGLE_PER_USER: 'true' }, async (other) => {
      const { auth, email } = await signedUp(other);
      const next = newClient(other);
      assert.equal((await next.signInWithPassword({ email, password: PASSWORD })).error, null);
      assert.ok(isAuthSessionMissingError((await auth.getUser()).error));
      assert.equal((await next.getUser()).error, null);
    }));

  // Mission: T04
  test('end one that lies unused', () =>
    during({ GOTRUE_SESSIONS_INACTIVITY_TIMEOUT: '4s' }, async (other) => {
      const { auth } = await signedUp(other);
      await sleep(1000);
      const { data, error } = await auth.refreshSession();
      assert.equal(error, null, 'it is in use');
      await sleep(5000);
      refused(await newClient(other).refreshSession({ refresh_token: data.session.refresh_token }), 'session_expired', 400);
    }));
});
