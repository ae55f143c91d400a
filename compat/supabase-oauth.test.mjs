// @supabase/auth-js, as published: signing in with accounts that are kept
// elsewhere, by a redirect there and back.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { newVisitor, startIdP } from './elsewhere.mjs';
import { PASSWORD, SECRET, SITE, ask, decode, memory, sign, someone, startMail, startServer } from './harness.mjs';
import { adminWith, inBrowserAt, newClient, refused, signedUp, tokensOf } from './supabase.mjs';

const CALLBACK = 'https://app.example.com/cb';

let mail;
let idp;
let server;
let apart; // accounts elsewhere never join a user who is here

before(async () => {
  mail = await startMail();
  idp = await startIdP();
  const settings = {
    ...(await idp.settings('google', 'github', 'apple', 'facebook', 'gitlab')),
    GOTRUE_JWT_SECRET: SECRET,
    GOTRUE_MAILER_AUTOCONFIRM: 'true',
    GOTRUE_SECURITY_MANUAL_LINKING_ENABLED: 'true',
    GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED: 'true',
  };
  server = await startServer(mail, settings);
  apart = await startServer(mail, { ...settings, GATEHOUSE_EXTERNAL_LINKING: 'never' });
  await idp.registers(server, apart);
});

after(async () => {
  await Promise.all([server?.stop(), apart?.stop()]);
  await Promise.all([idp?.stop(), mail?.stop()]);
});

// way asks the client for the address where a sign-in begins.
async function way(auth, provider = 'google', options = {}) {
  const { data, error } = await auth.signInWithOAuth({ provider, options: { redirectTo: CALLBACK, skipBrowserRedirect: true, ...options } });
  assert.equal(error, null);
  assert.equal(data.provider, provider);
  return data.url;
}

// arrived checks where a browser has come back to.
function arrived(to) {
  assert.equal(to.base, CALLBACK, to.href ?? to.text);
  assert.equal(to.query.get('error') ?? to.fragment.get('error'), null, to.href);
  return to;
}

// failed checks that nobody was signed in, and why, in query and in fragment.
function failed(to, error, code, base = CALLBACK) {
  assert.equal(to.base, base, to.href ?? to.text);
  const want = { error, code };
  assert.deepEqual({ error: to.query.get('error'), code: to.query.get('error_code') }, want, to.href);
  for (const part of [to.query, to.fragment]) for (const key of ['code', 'access_token']) assert.equal(part.get(key), null);
  return to.query.get('error_description');
}

// signedIn is who has come by the implicit flow.
async function signedIn(person, provider, { at = server, ...options } = {}) {
  const auth = newClient(at);
  const to = arrived(await newVisitor(person).go(await way(auth, provider, options)));
  const { data, error } = await auth.setSession(tokensOf(to));
  assert.equal(error, null);
  return { auth, to, user: data.user, session: data.session };
}

describe('signInWithOAuth, implicit flow', () => {
  for (const provider of ['google', 'github', 'apple', 'facebook', 'gitlab']) {
    // Mission: R24, S07, S08, S15, C10
    test(`signs in with ${provider}, the first time and again`, async () => {
      const person = await idp.person();
      const { user, session, to, auth } = await signedIn(person, provider);
      assert.equal(user.app_metadata.provider, provider);
      assert.deepEqual(user.app_metadata.providers, [provider]);
      assert.equal(user.user_metadata.full_name, 'Ann Lee');
      assert.equal(user.identities.length, 1);
      assert.equal(user.identities[0].provider, provider);
      assert.equal(user.identities[0].id, person.subject);
      assert.equal(user.identities[0].identity_data.email, user.email);
      assert.equal(decode(session.access_token).claims.amr[0].method, 'oauth');
      assert.ok(to.fragment.has('sb'), 'which tells the client that this fragment is ours');
      assert.equal(to.fragment.get('token_type'), 'bearer');
      assert.ok(to.fragment.get('provider_token'));
      assert.equal(user.email, person.email);
      assert.ok(Date.parse(user.email_confirmed_at));
      assert.equal((await auth.refreshSession()).data.user.id, user.id);

      const again = await signedIn(person, provider);
      assert.equal(again.user.id, user.id);
      assert.ok(Date.parse(again.user.last_sign_in_at) >= Date.parse(user.last_sign_in_at));
      assert.notEqual((await signedIn(await idp.person(), provider)).user.id, user.id);
    });
  }

  // Mission: T08
  test('leaves the session, and the provider’s token once, to a client in a browser', async (t) => {
    const person = await idp.person();
    const to = arrived(await newVisitor(person).go(await way(newClient(server))));
    inBrowserAt(t, to.href);
    const auth = newClient(server, { detectSessionInUrl: true });
    assert.equal((await auth.initialize()).error, null);
    const { session } = (await auth.getSession()).data;
    assert.equal(session.user.email, person.email);
    assert.equal(session.provider_token, to.fragment.get('provider_token'));
    const { data } = await auth.refreshSession();
    assert.equal(data.session.provider_token, undefined);
    assert.equal(JSON.stringify((await auth.getUser()).data).includes(session.provider_token), false);
  });

  // Mission: S09
  test('passes scopes and parameters on, and none that are ours to say', async () => {
    const person = await idp.person();
    await signedIn(person, 'google', {
      scopes: 'https://www.googleapis.com/auth/calendar',
      queryParams: { access_type: 'offline', prompt: 'consent', redirect_uri: 'https://evil.example/', client_id: 'evil', state: 'mine', login_hint: person.email },
    });
    const { query } = (await idp.asked('google', 'authorize')).findLast((r) => r.query.login_hint?.[0] === person.email);
    assert.ok(query.scope[0].split(' ').includes('https://www.googleapis.com/auth/calendar'), query.scope[0]);
    assert.ok(query.scope[0].split(' ').includes('openid'), query.scope[0]);
    assert.deepEqual([query.access_type, query.prompt], [['offline'], ['consent']]);
    assert.deepEqual([query.redirect_uri, query.client_id], [[`${server.url}/callback`], [idp.client.id]]);
    assert.notEqual(query.state[0], 'mine');
  });

  test('says in address and client who has refused', async (t) => {
    const to = await newVisitor(await idp.person()).go(await way(newClient(server)), { answer: 'deny' });
    failed(to, 'access_denied', 'bad_oauth_callback');
    assert.equal(to.fragment.get('error'), 'access_denied');
    inBrowserAt(t, to.href);
    const auth = newClient(server, { detectSessionInUrl: true });
    const { error } = await auth.initialize();
    assert.equal(error.name, 'AuthImplicitGrantRedirectError');
    assert.deepEqual(error.details, { error: 'access_denied', code: 'bad_oauth_callback' });
    assert.equal((await auth.getSession()).data.session, null);
  });

  // Mission: C10
  test('goes nowhere with a provider that is not enabled, and nowhere that is not allowed', async () => {
    for (const provider of ['discord', 'nobody', 'custom:nobody']) {
      const page = await newVisitor().go(await way(newClient(server), provider));
      assert.equal(page.status, 400, provider);
      assert.equal(page.json.error_code, 'validation_failed');
      assert.match(page.json.msg, /^Unsupported provider/);
    }
    const to = await newVisitor(await idp.person()).go(await way(newClient(server), 'google', { redirectTo: 'https://evil.example/cb' }));
    assert.equal(to.base, `${SITE}/`);
  });

  // Mission: S11
  test('makes nobody of somebody without an address', async () => {
    const to = await newVisitor(await idp.person({ email: '' })).go(await way(newClient(server), 'github'));
    assert.match(failed(to, 'invalid_request', 'email_address_not_provided'), /email/);
  });

  // Mission: S13
  test('gives nobody a password', async () => {
    const { user, auth } = await signedIn(await idp.person(), 'google');
    for (const password of ['', PASSWORD]) assert.notEqual((await newClient(server).signInWithPassword({ email: user.email, password })).error, null);
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await auth.updateUser({ password: PASSWORD })).error, null);
    assert.equal((await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD })).data.user.id, user.id);
  });
});

describe('an address that is here already', () => {
  test('brings the account to its user, if the provider has proved it', async () => {
    const { email, user } = await signedUp(server);
    const found = await signedIn(await idp.person({ email }), 'google');
    assert.equal(found.user.id, user.id);
    assert.deepEqual(found.user.identities.map((i) => i.provider).sort(), ['email', 'google']);
    assert.equal((await newClient(server).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
  });

  for (const email_verified of [false, 'false']) {
    test(`brings it to nobody, if the provider says ${JSON.stringify(email_verified)}`, async () => {
      const { auth, email } = await signedUp(server);
      const to = await newVisitor(await idp.person({ email, email_verified })).go(await way(newClient(server)));
      failed(to, 'access_denied', 'provider_email_needs_verification');
      assert.deepEqual((await auth.getUserIdentities()).data.identities.map((i) => i.provider), ['email']);
    });
  }

  // Mission: S14
  test('stays a user of its own where the operator wants it so', async () => {
    const { email, user } = await signedUp(apart);
    const other = await signedIn(await idp.person({ email }), 'google', { at: apart });
    assert.notEqual(other.user.id, user.id);
    assert.equal((await newClient(apart).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
  });
});

describe('signInWithOAuth, PKCE flow', () => {
  // begun is a client of PKCE, and the code it was brought.
  async function begun() {
    const storage = memory();
    const auth = newClient(server, { flowType: 'pkce', storage, storageKey: 'key' });
    const person = await idp.person();
    const url = await way(auth);
    const verifier = storage.getItem('key-code-verifier');
    const to = arrived(await newVisitor(person).go(url));
    assert.equal(to.href, `${CALLBACK}?code=${to.query.get('code')}`);
    const remember = () => storage.setItem('key-code-verifier', verifier);
    return { auth, person, code: to.query.get('code'), remember };
  }

  // Mission: R24, S07, S10, T08
  test('brings a code, which the client trades for a session and the provider’s tokens', async () => {
    const { auth, person, code } = await begun();
    const { data, error } = await auth.exchangeCodeForSession(code);
    assert.equal(error, null);
    assert.equal(data.user.email, person.email);
    assert.ok(data.session.provider_token);
    assert.equal(decode(data.session.access_token).claims.amr[0].method, 'oauth');
    const next = await auth.refreshSession();
    assert.equal(next.error, null);
    assert.deepEqual([next.data.session.provider_token, next.data.session.provider_refresh_token], [undefined, undefined]);
  });

  test('takes a code once', async () => {
    const { auth, code, remember, person } = await begun();
    assert.equal((await auth.exchangeCodeForSession(code)).error, null);
    remember();
    refused(await auth.exchangeCodeForSession(code), 'flow_state_not_found', 404);
    assert.equal((await auth.getUser()).data.user?.email, person.email, 'and who is in stays in');
  });

  test('takes no code that was brought to another client', async () => {
    const [ann, eve] = [await begun(), await begun()];
    refused(await eve.auth.exchangeCodeForSession(ann.code), 'bad_code_verifier', 400);
    const bare = newClient(server, { flowType: 'pkce' });
    assert.equal((await bare.exchangeCodeForSession(ann.code)).error.name, 'AuthPKCECodeVerifierMissingError');
    assert.equal((await bare.getSession()).data.session, null);
  });

  // A tab each; the client marks the address to come back to.
  test('leads two sign-ins at once each to its end', async () => {
    const auth = newClient(server, { flowType: 'pkce', experimental: { appendPkceFlowIdToRedirects: true } });
    const people = [await idp.person(), await idp.person()];
    const ways = [await way(auth), await way(auth)];
    for (const [n, person] of people.entries()) {
      const to = await newVisitor(person).go(ways[n]);
      assert.equal(to.base, CALLBACK, to.text);
      const flowId = to.query.get('sb_flow_id');
      assert.ok(flowId, to.href);
      const { data, error } = await auth.exchangeCodeForSession(to.query.get('code'), { flowId });
      assert.equal(error, null);
      assert.equal(data.user.email, person.email);
    }
  });

  test('says who has refused', async () => {
    const auth = newClient(server, { flowType: 'pkce' });
    failed(await newVisitor(await idp.person()).go(await way(auth), { answer: 'deny' }), 'access_denied', 'bad_oauth_callback');
  });
});

describe('the way back', () => {
  test('is for the browser that set out, and for it once', async () => {
    const person = await idp.person();
    const auth = newClient(server, { flowType: 'pkce' });
    const url = await way(auth);
    const ann = newVisitor(person);
    const back = await ann.go(url, { until: /\/callback\?/ });
    assert.equal(back.base, `${server.url}/callback`);
    for (const eve of [newVisitor(), newVisitor(person)]) {
      failed(await eve.go(back.href), 'invalid_request', 'bad_oauth_state', `${SITE}/`);
    }
    const to = arrived(await ann.go(back.href));
    failed(await ann.go(back.href), 'invalid_request', 'bad_oauth_state', `${SITE}/`);
    assert.equal((await auth.exchangeCodeForSession(to.query.get('code'))).data.user.email, person.email);
  });

  test('of nobody leads to the site', async () => {
    for (const query of ['', '?code=x', '?state=x', '?code=x&state=x']) {
      failed(await newVisitor().go(`${server.url}/callback${query}`), 'invalid_request', 'bad_oauth_state', `${SITE}/`);
    }
  });
});

describe('identities elsewhere', () => {
  const names = async (auth) => (await auth.getUserIdentities()).data.identities.map((i) => i.provider).sort();
  const of = async (auth, provider) => (await auth.getUserIdentities()).data.identities.find((i) => i.provider === provider);

  async function wanted(auth, provider = 'github') {
    const { data, error } = await auth.linkIdentity({ provider, options: { redirectTo: CALLBACK, skipBrowserRedirect: true } });
    assert.equal(error, null);
    assert.equal(data.provider, provider);
    return data.url;
  }

  for (const flowType of ['implicit', 'pkce']) {
    // Mission: S10
    test(`are linked by a redirect, in the ${flowType} flow, and unlinked`, async () => {
      const { auth, user, email } = await signedUp(server, { flowType });
      const person = await idp.person();
      const to = arrived(await newVisitor(person).go(await wanted(auth), { from: CALLBACK }));
      if (flowType === 'pkce') assert.equal((await auth.exchangeCodeForSession(to.query.get('code'))).data.user.id, user.id);
      else assert.equal((await auth.setSession(tokensOf(to))).data.user.id, user.id);
      assert.deepEqual(await names(auth), ['email', 'github']);
      assert.equal((await auth.getUser()).data.user.email, email, 'as before');
      assert.match((await mail.mailTo(email, { about: /account|linked|connected/i })).text, /GitHub/i);
      assert.equal((await signedIn(person, 'github')).user.id, user.id);

      assert.equal((await auth.unlinkIdentity(await of(auth, 'github'))).error, null);
      assert.deepEqual(await names(auth), ['email']);
      assert.notEqual((await signedIn(person, 'github')).user.id, user.id);
    });
  }

  test('are linked by a link from nowhere only after a question', async () => {
    const { auth, email } = await signedUp(server);
    const ann = newVisitor(await idp.person());
    const url = await wanted(auth);
    for (const from of [undefined, 'https://evil.example/']) {
      const page = await ann.go(url, { from });
      assert.equal(page.status, 200);
      assert.ok(page.text.includes('GitHub') && page.text.includes(email), page.text);
      assert.deepEqual(await names(auth), ['email']);
    }
    arrived(await ann.press(await ann.go(url)));
    assert.deepEqual(await names(auth), ['email', 'github']);
  });

  test('make somebody of nobody in particular', async () => {
    const auth = newClient(server);
    const { data: { user } } = await auth.signInAnonymously();
    const person = await idp.person();
    const to = arrived(await newVisitor(person).go(await wanted(auth), { from: CALLBACK }));
    const { data, error } = await auth.setSession(tokensOf(to));
    assert.equal(error, null);
    assert.deepEqual([data.user.id, data.user.email, data.user.is_anonymous], [user.id, person.email, false]);
    assert.equal(decode(data.session.access_token).claims.is_anonymous, false);
    assert.equal((await signedIn(person, 'github')).user.id, user.id);
  });

  test('of somebody else are not taken from them', async () => {
    const person = await idp.person();
    const owner = await signedIn(person, 'github');
    const { auth } = await signedUp(server);
    failed(await newVisitor(person).go(await wanted(auth), { from: CALLBACK }), 'access_denied', 'identity_already_exists');
    assert.deepEqual(await names(auth), ['email']);
    assert.deepEqual(await names(owner.auth), ['github']);
  });

  test('are linked to nobody who has signed out meanwhile', async () => {
    const { auth, email } = await signedUp(server);
    const ann = newVisitor(await idp.person());
    const back = await ann.go(await wanted(auth), { from: CALLBACK, until: /\/callback\?/ });
    assert.equal((await auth.signOut()).error, null);
    const to = await ann.go(back.href);
    assert.equal(to.base, CALLBACK);
    assert.ok(to.query.get('error_code'), to.href);
    assert.equal(to.fragment.get('access_token'), null);
    const { data } = await newClient(server).signInWithPassword({ email, password: PASSWORD });
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['email']);
  });

  test('are linked without a redirect by an ID token', async () => {
    const { auth, user } = await signedUp(server);
    const person = await idp.person();
    const { data, error } = await auth.linkIdentity({ provider: 'google', token: await idp.idToken(person) });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.deepEqual(await names(auth), ['email', 'google']);
    const eve = await signedUp(server);
    refused(await eve.auth.linkIdentity({ provider: 'google', token: await idp.idToken(person) }), 'identity_already_exists', 422);
    assert.deepEqual(await names(eve.auth), ['email']);
  });

  test('stay where there is no other', async () => {
    const { auth } = await signedIn(await idp.person(), 'google');
    refused(await auth.unlinkIdentity(await of(auth, 'google')), 'single_identity_not_deletable', 422);
  });

  test('are linked to no provider that is not there', async () => {
    const { auth } = await signedUp(server);
    for (const provider of ['discord', 'nobody']) {
      refused(await auth.linkIdentity({ provider, options: { skipBrowserRedirect: true } }), 'validation_failed', 400);
    }
    assert.equal((await newClient(server).linkIdentity({ provider: 'github', options: { skipBrowserRedirect: true } })).data.url ?? null, null);
  });
});

describe('admin.customProviders', () => {
  // Mission: C10
  test('adds one that people sign in with, changes and removes it', async () => {
    const { customProviders } = adminWith(server, sign({ role: 'service_role' }));
    const identifier = 'custom:acme';
    const made = await customProviders.createProvider({
      provider_type: 'oidc', identifier, name: 'Acme', client_id: idp.client.id, client_secret: idp.client.secret,
      issuer: `${idp.url}/oidc-acme`, scopes: ['openid', 'email', 'profile'],
    });
    assert.equal(made.error, null);
    assert.equal(made.data.identifier, identifier);
    assert.equal(made.data.enabled, true);
    assert.ok(!JSON.stringify(made.data).includes(idp.client.secret));
    assert.deepEqual((await customProviders.listProviders({ type: 'oidc' })).data.providers.map((p) => p.identifier), [identifier]);
    assert.deepEqual((await customProviders.listProviders({ type: 'oauth2' })).data.providers, []);
    assert.equal((await customProviders.getProvider(identifier)).data.name, 'Acme');

    const person = await idp.person();
    const { user, auth } = await signedIn(person, identifier);
    assert.equal(user.email, person.email);
    assert.equal(user.app_metadata.provider, identifier);
    assert.equal((await signedIn(person, identifier)).user.id, user.id);

    assert.equal((await customProviders.updateProvider(identifier, { enabled: false, name: 'Acme Inc' })).data.name, 'Acme Inc');
    assert.equal((await newVisitor(person).go(await way(newClient(server), identifier))).status, 400);
    assert.equal((await customProviders.updateProvider(identifier, { enabled: true })).data.enabled, true);
    assert.equal((await signedIn(person, identifier)).user.id, user.id);
    assert.equal((await customProviders.deleteProvider(identifier)).error, null);
    assert.equal((await customProviders.getProvider(identifier)).error.status, 404);
    assert.equal((await newVisitor(person).go(await way(newClient(server), identifier))).status, 400);
    assert.equal((await auth.getUser()).data.user.id, user.id);
  });

  test('is the operator’s alone', async () => {
    const { session } = await signedUp(server);
    assert.equal((await adminWith(server, session.access_token).customProviders.listProviders()).error.status, 403);
    assert.equal((await ask('GET', `${server.url}/admin/custom-providers`)).status, 401);
  });
});
