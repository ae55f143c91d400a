// @supabase/auth-js, as published, signs people up and in and changes their
// accounts. What else it does is in the other files: tokens in -session, what
// goes through the mailbox in -mail and -pkce, telephones in -phone, people
// without a name and identities in -identity, what strangers are told in
// -reveal, passwords in -password, operators in -admin, the rest in -wire.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthApiError } from '@supabase/auth-js';
import { PASSWORD, SECRET, SITE, ask, decode, openLink, press, someone, startMail, startServer } from './harness.mjs';
import { inBrowserAt, newClient, refused, signedUp } from './supabase.mjs';

let mail;
let strict; // addresses must be confirmed
let open; // they need not

before(async () => {
  mail = await startMail();
  strict = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET });
  open = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' });
});

after(async () => {
  await Promise.all([strict?.stop(), open?.stop()]);
  await mail?.stop();
});

describe('sign-up', () => {
  // Mission: R08, R12, V06, V07, V13, M01
  test('waits for the address to be confirmed', async () => {
    const auth = newClient(strict);
    const email = someone();
    const { data, error } = await auth.signUp({ email, password: PASSWORD, options: { data: { full_name: 'Ann', level: 3, beta: true } } });
    assert.equal(error, null);
    assert.equal(data.session, null);
    assert.equal(data.user.email, email);
    assert.equal(data.user.identities.length, 1);
    assert.equal(data.user.identities[0].provider, 'email');
    assert.ok(Date.parse(data.user.confirmation_sent_at));
    assert.equal(data.user.email_confirmed_at, undefined);
    const { full_name, level, beta } = data.user.user_metadata;
    assert.deepEqual({ full_name, level, beta }, { full_name: 'Ann', level: 3, beta: true });

    refused(await auth.signInWithPassword({ email, password: PASSWORD }), 'email_not_confirmed', 400);
    const m = await mail.mailTo(email);
    assert.equal(m.from, 'gatehouse@example.org');
    assert.ok(m.link.startsWith(`${strict.url}/verify?`), m.link);
    assert.match(m.code, /^\d{6}$/);
    assert.equal(await mail.countTo(email, strict.url), 1);
  });

  // Mission: V01, V03, M06, T24
  test('is confirmed by the button behind the mailed link, and by nothing less', async () => {
    const auth = newClient(strict);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: 'https://app.example.com/welcome' } });
    const { link } = await mail.mailTo(email);

    // A mail scanner looks at the link; nothing is used up.
    assert.equal((await ask('HEAD', link)).status, 200);
    for (let n = 0; n < 3; n++) {
      const page = await openLink(link);
      assert.equal(page.status, 200);
      assert.match(page.headers['content-type'], /^text\/html/);
    }
    refused(await auth.signInWithPassword({ email, password: PASSWORD }), 'email_not_confirmed', 400);

    const page = await openLink(link);
    const to = await press(page);
    assert.equal(to.base, 'https://app.example.com/welcome');
    assert.equal(to.fragment.get('token_type'), 'bearer');
    assert.equal(to.fragment.get('type'), 'signup');
    assert.equal(to.fragment.get('expires_in'), '3600');
    assert.ok(Math.abs(Number(to.fragment.get('expires_at')) - Date.now() / 1000 - 3600) < 60);

    const { data, error } = await auth.setSession({
      access_token: to.fragment.get('access_token'),
      refresh_token: to.fragment.get('refresh_token'),
    });
    assert.equal(error, null);
    assert.ok(Date.parse(data.user.email_confirmed_at));
    assert.equal((await auth.signInWithPassword({ email, password: PASSWORD })).error, null);

    // The same button once more: the link is used.
    const again = await press(page);
    assert.equal(again.fragment.get('error'), 'access_denied');
    assert.equal(again.fragment.get('error_code'), 'otp_expired');
    assert.equal(again.fragment.get('access_token'), null);
  });

  // Mission: V01
  test('ends in the browser where the client finds its session in the address', async (t) => {
    const email = someone();
    await newClient(strict).signUp({ email, password: PASSWORD });
    const to = await press(await openLink((await mail.mailTo(email)).link));
    assert.equal(to.base, `${SITE}/`);

    inBrowserAt(t, to.href);
    const auth = newClient(strict, { detectSessionInUrl: true });
    const { data, error } = await auth.getSession();
    assert.equal(error, null);
    assert.equal(data.session.user.email, email);
  });

  // Mission: M06
  test('sends nobody to a foreign address', async () => {
    const email = someone();
    for (const emailRedirectTo of ['https://evil.test/', 'https://app.example.com.evil.test/', 'javascript:alert(1)']) {
      const to = someone();
      await newClient(strict).signUp({ email: to, password: PASSWORD, options: { emailRedirectTo } });
      const m = await mail.mailTo(to);
      assert.equal((await press(await openLink(m.link))).base, `${SITE}/`, emailRedirectTo);
    }
    await newClient(strict).signUp({ email, password: PASSWORD, options: { emailRedirectTo: `${SITE}/deep/page?a=b` } });
    const to = await press(await openLink((await mail.mailTo(email)).link));
    assert.equal(to.base, `${SITE}/deep/page`);
    assert.equal(to.query.get('a'), 'b');
  });

  // Mission: M06
  test('cannot be finished by another site, nor sent on to one', async () => {
    const email = someone();
    await newClient(strict).signUp({ email, password: PASSWORD });
    const { link } = await mail.mailTo(email);
    const page = await openLink(link);
    const foreign = await ask('POST', page.form.action, {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: 'https://evil.test', 'Sec-Fetch-Site': 'cross-site' },
      body: page.form.fields.toString(),
    });
    assert.ok(foreign.status >= 400 && foreign.status < 500, String(foreign.status));
    assert.equal(foreign.headers.location, undefined);

    const changed = new URL(link);
    changed.searchParams.set('redirect_to', 'https://evil.test/');
    const to = await press(await openLink(changed.href));
    assert.equal(to.base, `${SITE}/`);
    assert.ok(to.fragment.get('access_token'));
  });

  for (const type of ['email', 'signup']) {
    // Mission: V03, R08
    test(`is confirmed by the mailed code, type ${type}, once`, async () => {
      const auth = newClient(strict);
      const email = someone();
      await auth.signUp({ email, password: PASSWORD });
      const { code } = await mail.mailTo(email);
      const wrong = code === '000000' ? '000001' : '000000';
      refused(await auth.verifyOtp({ email, token: wrong, type }), 'otp_expired', 403);
      const { data, error } = await auth.verifyOtp({ email, token: code, type });
      assert.equal(error, null);
      assert.equal(data.user.email, email);
      assert.ok(data.session.access_token);
      assert.ok(Date.parse(data.user.confirmed_at));
      refused(await auth.verifyOtp({ email, token: code, type }), 'otp_expired', 403);
    });

    // Mission: V03
    test(`is confirmed by the link's token hash, type ${type}, once`, async () => {
      const auth = newClient(strict);
      const email = someone();
      await auth.signUp({ email, password: PASSWORD });
      const { token } = await mail.mailTo(email);
      refused(await auth.verifyOtp({ token_hash: token.slice(0, -1), type }), 'otp_expired', 403);
      const { data, error } = await auth.verifyOtp({ token_hash: token, type });
      assert.equal(error, null);
      assert.ok(data.session.refresh_token);
      refused(await auth.verifyOtp({ token_hash: token, type }), 'otp_expired', 403);
    });
  }

  test('spends the code after five wrong guesses', async () => {
    const auth = newClient(strict);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const { code } = await mail.mailTo(email);
    for (let n = 1; n <= 5; n++) {
      const wrong = String((Number(code) + n) % 1_000_000).padStart(6, '0');
      refused(await auth.verifyOtp({ email, token: wrong, type: 'email' }), 'otp_expired', 403);
    }
    refused(await auth.verifyOtp({ email, token: code, type: 'email' }), 'otp_expired', 403);
  });

  // Mission: R07, V13
  test('signs in at once where addresses need no confirmation', async () => {
    const auth = newClient(open);
    const email = someone();
    const events = [];
    auth.onAuthStateChange((event) => void events.push(event));
    const { data, error } = await auth.signUp({ email, password: PASSWORD, options: { data: { full_name: 'Ann' } } });
    assert.equal(error, null);
    assert.equal(data.session.token_type, 'bearer');
    assert.equal(data.session.expires_in, 3600);
    assert.equal(data.user.user_metadata.full_name, 'Ann');
    assert.ok(Date.parse(data.user.confirmed_at));
    assert.equal((await auth.getUser()).data.user.id, data.user.id);
    assert.equal((await newClient(open).signInWithPassword({ email, password: PASSWORD })).error, null);
    assert.ok(events.includes('SIGNED_IN'), events.join());
  });

  // Mission: R06, R13
  test('refuses an address that is taken, where nothing is hidden anyway', async () => {
    const { email } = await signedUp(open);
    refused(await newClient(open).signUp({ email, password: PASSWORD }), 'user_already_exists', 422);
  });

  // Mission: R23
  test('refuses what is no address', async () => {
    for (const email of ['not_email', '@example.org', 'a b@example.org']) {
      refused(await newClient(open).signUp({ email, password: PASSWORD }), 'validation_failed', 400);
    }
    const { error } = await newClient(open).signUp({ email: '', password: PASSWORD });
    assert.ok(isAuthApiError(error), String(error));
  });

  // Mission: R18
  test('can be closed', async () => {
    const closed = await startServer(mail, { GOTRUE_DISABLE_SIGNUP: 'true', GOTRUE_MAILER_AUTOCONFIRM: 'true' });
    try {
      refused(await newClient(closed).signUp({ email: someone(), password: PASSWORD }), 'signup_disabled', 422);
      const nobody = someone();
      assert.equal((await newClient(closed).signInWithOtp({ email: nobody })).error, null, 'nobody is told who is unknown');
      refused(await newClient(closed).verifyOtp({ email: nobody, token: '123456', type: 'email' }), 'otp_expired', 403);
    } finally {
      await closed.stop();
    }
  });
});

describe('sign-in with a password', () => {
  // Mission: S01, S18
  test('takes the right one and gives one answer to all else', async () => {
    const { email, user } = await signedUp(open);
    const auth = newClient(open);
    const right = await auth.signInWithPassword({ email, password: PASSWORD });
    assert.equal(right.error, null);
    assert.equal(right.data.user.id, user.id);
    assert.ok(Date.parse(right.data.user.last_sign_in_at));

    const wrong = refused(await auth.signInWithPassword({ email, password: 'wrong password' }), 'invalid_credentials', 400);
    const unknown = refused(await auth.signInWithPassword({ email: someone(), password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal(wrong.message, 'Invalid login credentials');
    assert.equal(unknown.message, wrong.message);
    assert.equal((await auth.signInWithPassword({ email: email.toUpperCase(), password: PASSWORD })).error, null);
  });

  // Mission: V06
  test('tells that the address is unconfirmed only to who knows the password', async () => {
    const email = someone();
    const auth = newClient(strict);
    await auth.signUp({ email, password: PASSWORD });
    refused(await auth.signInWithPassword({ email, password: 'wrong password' }), 'invalid_credentials', 400);
    refused(await auth.signInWithPassword({ email, password: PASSWORD }), 'email_not_confirmed', 400);
  });

  // Mission: T13
  test('opens a session of its own each time', async () => {
    const { email } = await signedUp(open);
    const [a, b] = [newClient(open), newClient(open)];
    for (const c of [a, b]) assert.equal((await c.signInWithPassword({ email, password: PASSWORD })).error, null);
    const ids = await Promise.all([a, b].map(async (c) => decode((await c.getSession()).data.session.access_token).claims.session_id));
    assert.notEqual(ids[0], ids[1]);
    for (const c of [a, b]) assert.equal((await c.getUser()).error, null);
  });
});

describe('the account', () => {
  // Mission: U01, U03, U04, U11, U16, U17
  test('shows itself, and takes and drops data key by key', async () => {
    const { auth, user } = await signedUp(open);
    assert.match(user.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    for (const k of ['created_at', 'updated_at', 'last_sign_in_at']) assert.ok(Date.parse(user[k]), k);
    await auth.updateUser({ data: { name: 'Ann', level: 1, beta: false } });
    const { data, error } = await auth.updateUser({ data: { level: 2.5, name: null, nested: { a: [1, 'é'] } } });
    assert.equal(error, null);
    const meta = (await auth.getUser()).data.user.user_metadata;
    assert.deepEqual(meta, data.user.user_metadata);
    assert.equal('name' in meta, false);
    assert.equal(meta.level, 2.5);
    assert.equal(meta.beta, false);
    assert.deepEqual(meta.nested, { a: [1, 'é'] });
  });

  test('takes no data only operators may set', async () => {
    const { auth } = await signedUp(open);
    refused(await auth.updateUser({ app_metadata: { roles: ['admin'] } }), 'not_admin', 403);
    const { data } = await auth.updateUser({ role: 'service_role', data: { x: 1 } });
    assert.equal(data.user?.role ?? 'authenticated', 'authenticated');
  });
});
