// @supabase/auth-js, as published: people who are nobody in particular, and by
// what a user is known.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthApiError, isAuthSessionMissingError } from '@supabase/auth-js';
import { PASSWORD, SECRET, ask, decode, follow, sign, sleep, somebodysNumber, someone, startMail, startSMS, startServer } from './harness.mjs';
import { adminWith, newClient, refused, tokensOf } from './supabase.mjs';

let mail;
let texts;
let strict; // addresses and numbers must be confirmed
let open; // they need not

before(async () => {
  mail = await startMail();
  texts = await startSMS();
  const settings = {
    ...texts.settings,
    GOTRUE_JWT_SECRET: SECRET,
    GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED: 'true',
    GOTRUE_SECURITY_MANUAL_LINKING_ENABLED: 'true',
  };
  strict = await startServer(mail, settings);
  open = await startServer(mail, { ...settings, GOTRUE_MAILER_AUTOCONFIRM: 'true', GOTRUE_SMS_AUTOCONFIRM: 'true' });
});

after(async () => {
  await Promise.all([strict?.stop(), open?.stop()]);
  await Promise.all([mail?.stop(), texts?.stop()]);
});

// nobody is an anonymous user, signed in.
async function nobody(server) {
  const auth = newClient(server);
  const { data, error } = await auth.signInAnonymously();
  assert.equal(error, null);
  return { auth, user: data.user, session: data.session };
}

// claimsOf are those of a fresh token.
async function claimsOf(auth) {
  const { data, error } = await auth.refreshSession();
  assert.equal(error, null);
  return decode(data.session.access_token).claims;
}

describe('somebody without a name', { concurrency: true }, () => {
  test('is signed in at once, with data, and stays the same person', async () => {
    const auth = newClient(strict);
    const { data, error } = await auth.signInAnonymously({ options: { data: { cart: [1, 2] } } });
    assert.equal(error, null);
    assert.equal(data.user.is_anonymous, true);
    assert.equal(data.user.email, '');
    assert.deepEqual(data.user.identities, []);
    assert.deepEqual(data.user.app_metadata, {});
    assert.deepEqual(data.user.user_metadata, { cart: [1, 2] });
    const { claims } = decode(data.session.access_token);
    assert.equal(claims.is_anonymous, true);
    assert.equal(claims.role, 'authenticated');
    assert.equal(claims.amr[0].method, 'anonymous');
    assert.equal((await auth.getUser()).data.user.id, data.user.id);
    assert.equal((await claimsOf(auth)).sub, data.user.id);
    assert.notEqual((await nobody(strict)).user.id, data.user.id);
    assert.equal((await auth.updateUser({ data: { cart: [3] } })).data.user.user_metadata.cart[0], 3);
    assert.equal((await auth.signOut()).error, null);
    assert.ok(isAuthSessionMissingError((await auth.getUser()).error));
  });

  // Mission: U06
  test('gets an address by mail, and is then somebody', async () => {
    const { auth, user } = await nobody(strict);
    const email = someone();
    const asked = await auth.updateUser({ email });
    assert.equal(asked.error, null);
    assert.equal(asked.data.user.new_email, email);
    assert.equal(asked.data.user.is_anonymous, true, 'not yet');
    const m = await mail.mailTo(email);
    const { data, error } = await auth.verifyOtp({ email, token: m.code, type: 'email_change' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.equal(data.user.email, email);
    assert.equal(data.user.is_anonymous, false);
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['email']);
    assert.equal((await claimsOf(auth)).is_anonymous, false);
    assert.equal((await auth.updateUser({ password: PASSWORD })).error, null);
    assert.equal((await newClient(strict).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
  });

  test('gets an address behind the mailed link', async () => {
    const { auth, user } = await nobody(strict);
    const email = someone();
    await auth.updateUser({ email });
    const to = await follow((await mail.mailTo(email)).link);
    const { data } = await newClient(strict).setSession(tokensOf(to));
    assert.equal(data.user.id, user.id);
    assert.equal(data.user.is_anonymous, false);
  });

  test('gets an address at once where none needs to be confirmed', async () => {
    const { auth, user } = await nobody(open);
    const email = someone();
    assert.equal((await auth.updateUser({ password: PASSWORD })).error?.code, 'validation_failed');
    const { data, error } = await auth.updateUser({ email });
    assert.equal(error, null);
    assert.equal(data.user.email, email);
    assert.equal(data.user.is_anonymous, false);
    assert.equal((await auth.updateUser({ password: PASSWORD })).error, null);
    assert.equal((await newClient(open).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
    const other = await nobody(open);
    await sleep(2100); // SMTP_MAX_FREQUENCY
    refused(await other.auth.updateUser({ email }), 'email_exists', 422);
    assert.equal((await other.auth.getUser()).data.user.is_anonymous, true);
  });

  test('gets an address and a password in one', async () => {
    const { auth, user } = await nobody(open);
    const email = someone();
    refused(await auth.updateUser({ password: PASSWORD }), 'validation_failed', 422);
    const { data, error } = await auth.updateUser({ email, password: PASSWORD });
    assert.equal(error, null);
    assert.equal(data.user.email, email);
    assert.equal((await newClient(open).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
  });

  test('gets a number by text message', async () => {
    const { auth, user } = await nobody(strict);
    const phone = somebodysNumber();
    assert.equal((await auth.updateUser({ phone })).error, null);
    const { data, error } = await auth.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'phone_change' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.equal(data.user.is_anonymous, false);
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['phone']);
  });

  test('cannot link a provider that is not there, and is told so', async () => {
    const { auth } = await nobody(strict);
    for (const call of [
      auth.linkIdentity({ provider: 'github', options: { skipBrowserRedirect: true } }),
      auth.linkIdentity({ provider: 'google', token: 'x' }),
    ]) {
      const { error } = await call;
      assert.ok(isAuthApiError(error), String(error));
      assert.ok(error.code && error.status >= 400 && error.status < 500, `${error.code} ${error.status}`);
    }
    refused(await auth.reauthenticate(), 'validation_failed', 400);
  });

  test('is shown to operators', async () => {
    const { user } = await nobody(strict);
    const { data } = await adminWith(strict, sign({ role: 'service_role' })).getUserById(user.id);
    assert.equal(data.user.is_anonymous, true);
    assert.equal((await ask('GET', `${strict.url}/settings`)).json.external.anonymous_users, true);
  });
});

describe('identities', { concurrency: true }, () => {
  // both is a user with an address and a number.
  async function both() {
    const auth = newClient(strict);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const last = await mail.mailTo(email);
    await auth.verifyOtp({ email, token: last.code, type: 'email' });
    const phone = somebodysNumber();
    await auth.updateUser({ phone });
    const { data } = await auth.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'phone_change' });
    return { auth, email, phone, user: data.user, last };
  }
  const of = async (auth, provider) => (await auth.getUserIdentities()).data.identities.find((i) => i.provider === provider);

  // Mission: U01
  test('are listed', async () => {
    const { auth, email, phone, user } = await both();
    const { data, error } = await auth.getUserIdentities();
    assert.equal(error, null);
    assert.equal(data.identities.length, 2);
    for (const i of data.identities) {
      assert.equal(i.user_id, user.id);
      assert.equal(i.id, user.id);
      assert.match(i.identity_id, /^[0-9a-f-]{36}$/);
      for (const k of ['created_at', 'updated_at', 'last_sign_in_at']) assert.ok(Date.parse(i[k]), k);
      assert.equal(i.identity_data.sub, user.id);
    }
    assert.equal((await of(auth, 'email')).identity_data.email, email);
    assert.equal((await of(auth, 'phone')).identity_data.phone, phone.slice(1));
    assert.ok(isAuthSessionMissingError((await newClient(strict).getUserIdentities()).error));
  });

  test('are unlinked, as long as one is left', async () => {
    const { auth, email, phone, user, last } = await both();
    assert.equal((await auth.unlinkIdentity(await of(auth, 'phone'))).error, null);
    const left = (await auth.getUser()).data.user;
    assert.equal(left.phone, '');
    assert.deepEqual(left.identities.map((i) => i.provider), ['email']);
    assert.deepEqual(left.app_metadata.providers, ['email']);
    refused(await newClient(strict).signInWithPassword({ phone, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await newClient(strict).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
    assert.match((await mail.mailTo(email, { after: last, about: /unlinked/ })).text, /phone/);
    refused(await auth.unlinkIdentity(await of(auth, 'email')), 'single_identity_not_deletable', 422);
    refused(await auth.unlinkIdentity({ identity_id: crypto.randomUUID() }), 'identity_not_found', 422);
    refused(await auth.unlinkIdentity({ identity_id: 'none' }), 'identity_not_found', 422);
  });

  test('of an address goes with the address', async () => {
    const { auth, email, phone, user } = await both();
    assert.equal((await auth.unlinkIdentity(await of(auth, 'email'))).error, null);
    assert.equal((await auth.getUser()).data.user.email, '');
    refused(await newClient(strict).signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await newClient(strict).signInWithPassword({ phone, password: PASSWORD })).data.user.id, user.id);
  });

  test('of somebody else are not there', async () => {
    const [ann, eve] = [await both(), await both()];
    refused(await eve.auth.unlinkIdentity(await of(ann.auth, 'phone')), 'identity_not_found', 422);
    assert.ok(await of(ann.auth, 'phone'));
  });

  test('are not unlinked unless the operator lets users', async () => {
    const plain = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true' });
    try {
      const auth = newClient(plain);
      await auth.signUp({ email: someone(), password: PASSWORD });
      refused(await auth.unlinkIdentity(await of(auth, 'email')), 'manual_linking_disabled', 404);
      refused(await auth.linkIdentity({ provider: 'github', options: { skipBrowserRedirect: true } }), 'manual_linking_disabled', 404);
      refused(await auth.signInAnonymously(), 'anonymous_provider_disabled', 422);
    } finally {
      await plain.stop();
    }
  });
});
