// @supabase/auth-js, as published: tokens, how they are renewed, and how they end.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { isAuthApiError, isAuthSessionMissingError } from '@supabase/auth-js';
import { PASSWORD, SECRET, ask, decode, memory, sign, sleep, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused, signedUp } from './supabase.mjs';

let mail;
let open; // they need not
let keys; // the server's own keys sign (ES256)
let brief; // so they do, for a second

before(async () => {
  mail = await startMail();
  open = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' });
  keys = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true' });
  brief = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true', GOTRUE_JWT_EXP: '5' });
});

after(async () => {
  await Promise.all([open?.stop(), keys?.stop(), brief?.stop()]);
  await mail?.stop();
});

describe('tokens', () => {
  // Mission: T19, T23, C11
  test('are signed with the shared secret and say what they should', async () => {
    const { session, user, email } = await signedUp(open);
    const { header, claims, signed, signature } = decode(session.access_token);
    assert.equal(header.alg, 'HS256');
    assert.equal(createHmac('sha256', SECRET).update(signed).digest('base64url'), signature);
    assert.equal(claims.sub, user.id);
    assert.equal(claims.email, email);
    assert.equal(claims.aud, 'authenticated');
    assert.equal(claims.role, 'authenticated');
    assert.equal(claims.exp - claims.iat, 3600);
    assert.equal(claims.exp, session.expires_at);
    assert.equal(claims.aal, 'aal1');
    assert.equal(claims.amr[0].method, 'password');
    assert.equal(claims.is_anonymous, false);
    assert.equal(claims.app_metadata.provider, 'email');
    assert.ok(claims.session_id);
  });

  // Mission: T19
  test('are checked by getClaims against the published keys, without asking the server', async () => {
    const asked = [];
    const counting = (url, init) => (asked.push(new URL(url).pathname), fetch(url, init));
    const { auth, session, user } = await signedUp(keys, { fetch: counting });
    asked.length = 0;
    const { data, error } = await auth.getClaims();
    assert.equal(error, null);
    assert.equal(data.header.alg, 'ES256');
    assert.equal(data.claims.sub, user.id);
    assert.deepEqual(asked, ['/.well-known/jwks.json']);

    const { signed } = decode(session.access_token);
    const [h, , s] = session.access_token.split('.');
    const forged = { ...decode(session.access_token).claims, role: 'service_role' };
    const bad = `${h}.${Buffer.from(JSON.stringify(forged)).toString('base64url')}.${s}`;
    const { error: invalid } = await auth.getClaims(bad);
    assert.equal(invalid?.name, 'AuthInvalidJwtError');
    assert.ok(signed);
    assert.equal((await auth.getUser(bad)).error?.code, 'bad_jwt');
  });

  test('of a shared secret are checked by getClaims with the server', async () => {
    const { auth, user } = await signedUp(open);
    const { data, error } = await auth.getClaims();
    assert.equal(error, null);
    assert.equal(data.claims.sub, user.id);
  });

  // Mission: T19, T04
  test('are checked by getClaims with keys at hand, and may be old if that is asked for', async () => {
    const { session, user } = await signedUp(keys);
    const jwks = (await ask('GET', `${keys.url}/.well-known/jwks.json`)).json;
    const nowhere = newClient({ url: 'http://127.0.0.1:9' });
    const { data, error } = await nowhere.getClaims(session.access_token, { jwks });
    assert.equal(error, null);
    assert.equal(data.claims.sub, user.id);
    assert.equal(data.header.kid, jwks.keys.find((k) => k.kid === data.header.kid).kid);

    const { access_token } = (await signedUp(brief)).session;
    const own = { jwks: (await ask('GET', `${brief.url}/.well-known/jwks.json`)).json };
    while (Date.now() / 1000 < decode(access_token).claims.exp + 1) await sleep(100);
    assert.equal((await nowhere.getClaims(access_token, own)).error?.name, 'AuthInvalidJwtError');
    assert.equal((await nowhere.getClaims(access_token, { ...own, allowExpired: true })).error, null);
    assert.equal((await newClient(brief).getUser(access_token)).error?.code, 'bad_jwt', 'the server takes none of that age');
  });

  // Mission: T24
  test('are needed: none, a bad one and one without signature get nothing', async () => {
    const { session } = await signedUp(open);
    const none = await ask('GET', `${open.url}/user`, { headers: { 'X-Supabase-Api-Version': '2024-01-01' } });
    assert.equal(none.status, 401);
    assert.equal(none.json.code, 'no_authorization');
    const auth = newClient(open);
    const cut = session.access_token.split('.');
    const naked = `${Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')}.${cut[1]}.`;
    for (const jwt of ['rubbish', naked, `${cut[0]}.${cut[1]}.`, sign(decode(session.access_token).claims, 'another-secret-of-the-same-length-...')]) {
      refused(await auth.getUser(jwt), 'bad_jwt', 403);
    }
  });

  // Mission: T04
  test('stop working when they expire, and the client fetches new ones by itself', async () => {
    const { session, user } = await signedUp(open);
    const old = decode(session.access_token).claims;
    const past = Math.floor(Date.now() / 1000) - 3600;
    const expired = sign({ ...old, iat: past - 3600, exp: past });
    const auth = newClient(open);
    refused(await auth.getUser(expired), 'bad_jwt', 403);

    // setSession sees that the token is old and trades the refresh token.
    const { data, error } = await auth.setSession({ access_token: expired, refresh_token: session.refresh_token });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.notEqual(data.session.refresh_token, session.refresh_token);
  });

  test('survive in storage, and an old session found there is renewed', async () => {
    const storage = memory();
    const options = { storage, storageKey: 'the-key' };
    const { session, user } = await signedUp(open, options);
    assert.equal((await newClient(open, options).getSession()).data.session.access_token, session.access_token);
    storage.setItem('the-key', JSON.stringify({ ...session, expires_at: Math.floor(Date.now() / 1000) - 10 }));
    const { data, error } = await newClient(open, options).getSession();
    assert.equal(error, null);
    assert.equal(data.session.user.id, user.id);
    assert.notEqual(data.session.refresh_token, session.refresh_token);
  });
});

describe('refresh', () => {
  // Mission: T20
  test('gives a new pair', async () => {
    const { auth, session, user } = await signedUp(open);
    const { data, error } = await auth.refreshSession();
    assert.equal(error, null);
    assert.notEqual(data.session.refresh_token, session.refresh_token);
    assert.equal(data.user.id, user.id);
    assert.equal(decode(data.session.access_token).claims.session_id, decode(session.access_token).claims.session_id);
    assert.equal((await auth.getUser()).error, null);
  });

  // Mission: T20
  test('gives twenty who ask at once the same successor', async () => {
    const { session } = await signedUp(open);
    const all = await Promise.all(Array.from({ length: 20 }, () => newClient(open).refreshSession({ refresh_token: session.refresh_token })));
    for (const { error } of all) assert.equal(error, null);
    const tokens = new Set(all.map(({ data }) => data.session.refresh_token));
    assert.equal(tokens.size, 1);
    const [next] = tokens;
    assert.notEqual(next, session.refresh_token);
    for (const { data } of all) assert.equal((await newClient(open).getUser(data.session.access_token)).error, null);
    assert.equal((await newClient(open).refreshSession({ refresh_token: next })).error, null);
  });

  // Mission: T20
  test('ends the session when an old token comes back', async () => {
    const { session } = await signedUp(open);
    const chain = [session.refresh_token];
    let last;
    for (let n = 0; n < 3; n++) {
      const { data, error } = await newClient(open).refreshSession({ refresh_token: chain.at(-1) });
      assert.equal(error, null);
      last = data.session;
      chain.push(last.refresh_token);
    }
    const thief = newClient(open);
    refused(await thief.refreshSession({ refresh_token: chain[0] }), 'refresh_token_already_used', 400);
    refused(await newClient(open).refreshSession({ refresh_token: chain.at(-1) }), 'refresh_token_not_found', 400);
    const { error } = await newClient(open).getUser(last.access_token);
    assert.ok(isAuthSessionMissingError(error), String(error));
  });

  // Mission: T20
  test('happens by itself before a token is too old, until the client is told to stop', async () => {
    const { auth, session } = await signedUp(brief);
    const events = [];
    const { data } = auth.onAuthStateChange((event) => void events.push(event));
    await auth.startAutoRefresh();
    for (let n = 0; n < 100 && !events.includes('TOKEN_REFRESHED'); n++) await sleep(50);
    assert.ok(events.includes('TOKEN_REFRESHED'), events.join());
    await auth.stopAutoRefresh();
    assert.notEqual((await auth.getSession()).data.session.refresh_token, session.refresh_token);
    data.subscription.unsubscribe();
    const heard = events.length;
    await auth.signOut();
    assert.equal(events.length, heard, 'nobody listens any more');
    await auth.dispose();
  });

  test('refuses rubbish and tokens that are not its own', async () => {
    const { session } = await signedUp(open);
    const other = await signedUp(keys);
    const changed = (session.refresh_token[0] === 'A' ? 'B' : 'A') + session.refresh_token.slice(1);
    for (const refresh_token of ['rubbish', changed, other.session.refresh_token]) {
      const { error } = await newClient(open).refreshSession({ refresh_token });
      assert.ok(isAuthApiError(error), String(error));
      assert.equal(error.status, 400);
      assert.match(error.code, /^(validation_failed|refresh_token_not_found)$/);
    }
    assert.equal((await newClient(open).refreshSession({ refresh_token: session.refresh_token })).error, null);
  });
});

describe('sign-out', () => {
  async function twice(server) {
    const { email } = await signedUp(server);
    const here = newClient(server);
    const there = newClient(server);
    for (const c of [here, there]) assert.equal((await c.signInWithPassword({ email, password: PASSWORD })).error, null);
    const session = async (c) => (await c.getSession()).data.session;
    return { here, there, mine: await session(here), theirs: await session(there) };
  }
  const gone = async (server, session) => {
    const { error } = await newClient(server).getUser(session.access_token);
    assert.ok(isAuthSessionMissingError(error), String(error));
    refused(await newClient(server).refreshSession({ refresh_token: session.refresh_token }), 'refresh_token_not_found', 400);
  };
  const alive = async (server, session) => assert.equal((await newClient(server).getUser(session.access_token)).error, null);

  // Mission: T11
  test('everywhere ends every session at once', async () => {
    const { here, mine, theirs } = await twice(open);
    assert.equal((await here.signOut()).error, null);
    assert.equal((await here.getSession()).data.session, null);
    await gone(open, mine);
    await gone(open, theirs);
  });

  // Mission: T11
  test('here leaves the other session alone', async () => {
    const { here, mine, theirs } = await twice(open);
    assert.equal((await here.signOut({ scope: 'local' })).error, null);
    assert.equal((await here.getSession()).data.session, null);
    await gone(open, mine);
    await alive(open, theirs);
  });

  test('of the others leaves this session alone', async () => {
    const { here, mine, theirs } = await twice(open);
    assert.equal((await here.signOut({ scope: 'others' })).error, null);
    await alive(open, mine);
    await gone(open, theirs);
  });

  test('is noticed by a client that did not ask for it', async () => {
    const { here, there } = await twice(open);
    const events = [];
    there.onAuthStateChange((event) => void events.push(event));
    await here.signOut();
    const { error } = await there.getUser();
    assert.ok(isAuthSessionMissingError(error), String(error));
    assert.equal((await there.getSession()).data.session, null);
    assert.ok(events.includes('SIGNED_OUT'), events.join());
    assert.equal((await there.signOut()).error, null, 'signing out twice is no error');
  });
});

describe('the client', () => {
  test('tells what happens, to all who listen', async () => {
    const auth = newClient(open);
    const email = someone();
    assert.deepEqual(await auth.initialize(), { error: null });
    const heard = [[], []];
    for (const list of heard) auth.onAuthStateChange((event, session) => void list.push([event, session?.user.email]));
    await auth.signUp({ email, password: PASSWORD });
    await auth.updateUser({ data: { x: 1 } });
    await auth.refreshSession();
    await auth.signOut();
    await auth.signInWithPassword({ email, password: PASSWORD });
    for (const list of heard) {
      assert.deepEqual(list, [
        ['INITIAL_SESSION', undefined],
        ['SIGNED_IN', email],
        ['USER_UPDATED', email],
        ['TOKEN_REFRESHED', email],
        ['SIGNED_OUT', undefined],
        ['SIGNED_IN', email],
      ]);
    }
  });

  test('throws what it would return, if it is made so', async () => {
    const auth = newClient(open, { throwOnError: true });
    assert.equal(auth.isThrowOnErrorEnabled(), true);
    await assert.rejects(auth.signInWithPassword({ email: someone(), password: PASSWORD }), { code: 'invalid_credentials', status: 400 });
  });
});
