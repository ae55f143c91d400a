// @supabase/auth-js, as published: settings of other servers that must work
// unchanged, and what goes over the wire besides.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthApiError } from '@supabase/auth-js';
import { PASSWORD, SECRET, SITE, ask, askJSON, decode, sign, sleep, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused, signedUp } from './supabase.mjs';

let mail;
let open; // they need not

before(async () => {
  mail = await startMail();
  open = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' });
});

after(async () => {
  await open?.stop();
  await mail?.stop();
});

describe('settings of other servers', () => {
  const during = async (settings, f) => {
    const server = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true', ...settings });
    try {
      await f(server);
    } finally {
      await server.stop();
    }
  };

  // Mission: U10, T19, C11
  test('name the audience and the groups', () =>
    during(
      { GOTRUE_JWT_AUD: 'app.example.com', GOTRUE_JWT_DEFAULT_GROUP_NAME: 'members', GOTRUE_JWT_ADMIN_GROUP_NAME: 'chiefs', GOTRUE_JWT_EXP: '600', GOTRUE_JWT_SECRET: SECRET },
      async (server) => {
        const { session, user, email } = await signedUp(server);
        assert.deepEqual([user.aud, user.role, session.expires_in], ['app.example.com', 'members', 600]);
        const { claims } = decode(session.access_token);
        assert.deepEqual([claims.aud, claims.role, claims.exp - claims.iat], ['app.example.com', 'members', 600]);
        const adminAs = (jwt) => newClient(server, { headers: { Authorization: `Bearer ${jwt}` } }).admin;
        refused(await adminAs(session.access_token).listUsers(), 'not_admin', 403);
        const promoted = await adminAs(sign({ role: 'service_role' })).updateUserById(user.id, { role: 'chiefs' });
        assert.equal(promoted.data.user.role, 'chiefs');
        const { data } = await newClient(server).signInWithPassword({ email, password: PASSWORD });
        assert.equal((await adminAs(data.session.access_token).listUsers()).error, null);
      },
    ));

  // Mission: T04
  test('end a session after a time', () =>
    during({ GOTRUE_SESSIONS_TIMEBOX: '1s' }, async (server) => {
      const { session } = await signedUp(server);
      await sleep(2100);
      refused(await newClient(server).refreshSession({ refresh_token: session.refresh_token }), 'session_expired', 400);
      const { error } = await newClient(server).getUser(session.access_token);
      assert.equal(error?.status, 403);
      assert.match(error.code, /^(session_expired|bad_jwt)$/); // the token may know its session's end
    }));

  test('let a mailed link finish without a button', () =>
    during({ GOTRUE_MAILER_AUTOCONFIRM: 'false', GATEHOUSE_MAILER_LINK_MODE: 'direct' }, async (server) => {
      const email = someone();
      await newClient(server).signUp({ email, password: PASSWORD });
      const { link } = await mail.mailTo(email);
      await ask('HEAD', link);
      const res = await ask('GET', link);
      assert.equal(res.status, 303);
      assert.match(res.headers.location, /^http:\/\/localhost:3000\/?#access_token=.*type=signup/);
      assert.match((await ask('GET', link)).headers.location, /error_code=otp_expired/);
    }));

  // Mission: S19
  test('limit each client, as a header names it', () =>
    during({ GATEHOUSE_RATE_LIMITS: 'on', GOTRUE_RATE_LIMIT_HEADER: 'X-Who', GOTRUE_RATE_LIMIT_TOKEN_REFRESH: '30' }, async (server) => {
      const { session } = await signedUp(server);
      const ask = (who) => newClient(server, { headers: { 'X-Who': who } }).refreshSession({ refresh_token: `${session.refresh_token.slice(0, -1)}_` });
      let limited;
      for (let n = 0; n < 200 && !limited; n++) {
        const { error } = await ask('one');
        if (error.status === 429) limited = error;
      }
      assert.equal(limited?.code, 'over_request_rate_limit');
      assert.equal((await ask('two')).error.status, 400);
    }));
});

describe('the wire', () => {
  test('is the same below /auth/v1, where gateways have it', async () => {
    const { auth, email } = await signedUp({ url: `${open.url}/auth/v1` });
    assert.equal((await auth.getUser()).data.user.email, email);
    assert.equal((await auth.refreshSession()).error, null);
    assert.equal((await auth.signOut()).error, null);
  });

  test('says in words a client understands that something is not to be had', async () => {
    const { auth } = await signedUp(open);
    const phone = '+491701234567';
    const calls = {
      'sign-up by phone': newClient(open).signUp({ phone, password: PASSWORD }),
      'code by phone': newClient(open).signInWithOtp({ phone }),
      'password by phone': newClient(open).signInWithPassword({ phone, password: PASSWORD }),
      'sign-in without a name': newClient(open).signInAnonymously(),
      'id token': newClient(open).signInWithIdToken({ provider: 'google', token: 'x' }),
      'single sign-on': newClient(open).signInWithSSO({ domain: 'example.org' }),
      'second factor': auth.mfa.enroll({ factorType: 'totp' }),
      'linked identity': auth.linkIdentity({ provider: 'github', options: { skipBrowserRedirect: true } }),
    };
    const bad = [];
    for (const [name, call] of Object.entries(calls)) {
      const { error } = await call;
      if (!isAuthApiError(error) || !error.code || error.status >= 500) bad.push(`${name}: ${error}`);
    }
    assert.deepEqual(bad, []);
    refused(await calls['sign-in without a name'], 'anonymous_provider_disabled', 422);
    refused(await calls['sign-up by phone'], 'phone_provider_disabled', 400);
    assert.deepEqual((await auth.mfa.listFactors()).data.all, []);
    assert.equal((await auth.mfa.getAuthenticatorAssuranceLevel()).data.currentLevel, 'aal1');
    assert.equal((await auth.getUserIdentities()).data.identities.length, 1);
  });

  // Mission: C12
  test('carries errors in the form the version header asks for', async () => {
    const body = { email: someone(), password: 'wrong password' };
    const url = `${open.url}/token?grant_type=password`;
    const now = await askJSON('POST', url, body, { 'X-Supabase-Api-Version': '2024-01-01' });
    assert.equal(now.status, 400);
    assert.equal(now.headers['x-supabase-api-version'], '2024-01-01');
    assert.deepEqual(now.json, { code: 'invalid_credentials', message: 'Invalid login credentials' });

    const before = await askJSON('POST', url, body);
    assert.equal(before.status, 400);
    assert.equal(before.headers['x-supabase-api-version'], undefined);
    const { code, error_code, msg } = before.json;
    assert.deepEqual({ code, error_code, msg }, { code: 400, error_code: 'invalid_credentials', msg: 'Invalid login credentials' });
  });

  test('lets the key of an API gateway through on public routes', async () => {
    for (const key of ['sb_publishable_abc', sign({ role: 'anon', iss: 'x' }), 'ey.not.jwt']) {
      const auth = newClient(open, { headers: { apikey: key, Authorization: `Bearer ${key}` } });
      const email = someone();
      assert.equal((await auth.signUp({ email, password: PASSWORD })).error, null);
      assert.equal((await auth.signInWithPassword({ email, password: PASSWORD })).error, null);
      assert.equal((await auth.refreshSession()).error, null);
      assert.equal((await auth.getUser()).data.user.email, email);
    }
  });

  test('lets browsers of the site send and read the headers the client uses', async () => {
    const headers = 'apikey,authorization,content-type,x-client-info,x-supabase-api-version';
    const pre = await ask('OPTIONS', `${open.url}/token?grant_type=password`, {
      headers: { Origin: SITE, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': headers },
    });
    assert.ok(pre.status === 200 || pre.status === 204, String(pre.status));
    assert.ok([SITE, '*'].includes(pre.headers['access-control-allow-origin']));
    const allowed = pre.headers['access-control-allow-headers'].toLowerCase().split(/,\s*/);
    for (const h of headers.split(',')) assert.ok(allowed.includes('*') || allowed.includes(h), `${h} in ${allowed}`);
    assert.match(pre.headers['access-control-allow-methods'], /POST/);
    const res = await ask('GET', `${open.url}/settings`, { headers: { Origin: SITE } });
    const exposed = (res.headers['access-control-expose-headers'] ?? '').toLowerCase();
    for (const h of ['x-total-count', 'link', 'x-supabase-api-version']) assert.ok(exposed.includes(h), `${h} in «${exposed}»`);
  });

  test('refuses what is not JSON without a server error', async () => {
    const res = await ask('POST', `${open.url}/signup`, {
      headers: { 'Content-Type': 'application/json;charset=UTF-8', 'X-Supabase-Api-Version': '2024-01-01' },
      body: '{"email":',
    });
    assert.equal(res.status, 400);
    assert.equal(res.json.code, 'bad_json');
  });
});
