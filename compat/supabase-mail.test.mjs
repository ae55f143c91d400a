// @supabase/auth-js, as published: everything that goes through the mailbox.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthSessionMissingError } from '@supabase/auth-js';
import { PASSWORD, SECRET, SITE, askJSON, decode, follow, openLink, press, sleep, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused } from './supabase.mjs';

let mail;
let strict; // addresses must be confirmed

before(async () => {
  mail = await startMail();
  strict = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET });
});

after(async () => {
  await strict?.stop();
  await mail?.stop();
});

const pause = () => sleep(2100); // SMTP_MAX_FREQUENCY is two seconds

// confirmed signs somebody up on the strict server and answers the mail.
async function confirmed(options) {
  const auth = newClient(strict, options);
  const email = someone();
  await auth.signUp({ email, password: PASSWORD });
  const m = await mail.mailTo(email);
  const { data, error } = await auth.verifyOtp({ email, token: m.code, type: 'email' });
  assert.equal(error, null);
  return { auth, email, user: data.user, session: data.session, last: m };
}

describe('a forgotten password', () => {
  // Mission: P04, P08
  test('is replaced with the mailed code', async () => {
    const { email, last, session } = await confirmed();
    const auth = newClient(strict);
    assert.deepEqual(await auth.resetPasswordForEmail(email), { data: {}, error: null });
    const m = await mail.mailTo(email, { after: last });
    refused(await auth.verifyOtp({ email, token: m.code === '111111' ? '111112' : '111111', type: 'recovery' }), 'otp_expired', 403);
    refused(await auth.verifyOtp({ email, token: m.code, type: 'signup' }), 'otp_expired', 403);
    const { data, error } = await auth.verifyOtp({ email, token: m.code, type: 'recovery' });
    assert.equal(error, null);
    assert.ok(data.session);
    assert.ok(Date.parse(data.user.recovery_sent_at));
    assert.equal((await auth.updateUser({ password: 'a new password' })).error, null);
    refused(await newClient(strict).signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await newClient(strict).signInWithPassword({ email, password: 'a new password' })).error, null);
    assert.ok(isAuthSessionMissingError((await newClient(strict).getUser(session.access_token)).error), 'the old session is over');
    refused(await newClient(strict).verifyOtp({ email, token: m.code, type: 'recovery' }), 'otp_expired', 403);
  });

  // Mission: P04, M06
  test('is replaced behind the mailed link', async () => {
    const { email, last } = await confirmed();
    const auth = newClient(strict);
    await auth.resetPasswordForEmail(email, { redirectTo: 'https://app.example.com/reset' });
    const to = await follow((await mail.mailTo(email, { after: last })).link);
    assert.equal(to.base, 'https://app.example.com/reset');
    assert.equal(to.fragment.get('type'), 'recovery');
    await auth.setSession({ access_token: to.fragment.get('access_token'), refresh_token: to.fragment.get('refresh_token') });
    assert.equal((await auth.updateUser({ password: 'a new password' })).error, null);
    assert.equal((await newClient(strict).signInWithPassword({ email, password: 'a new password' })).error, null);
  });

  // Mission: P07
  test('of an address nobody has is answered the same, without a mail', async () => {
    const email = someone();
    assert.deepEqual(await newClient(strict).resetPasswordForEmail(email), { data: {}, error: null });
    assert.equal(await mail.countTo(email, strict.url), 0);
  });

  // Mission: P09, V11
  test('asked for twice leaves only the newer mail of use, and not at once', async () => {
    const { email, last } = await confirmed();
    const auth = newClient(strict);
    await auth.resetPasswordForEmail(email);
    const first = await mail.mailTo(email, { after: last });
    const soon = refused(await auth.resetPasswordForEmail(email), 'over_email_send_rate_limit', 429);
    assert.match(soon.message, /^For security purposes, you can only request this after \d+ seconds?\.$/);
    await pause();
    assert.equal((await auth.resetPasswordForEmail(email)).error, null);
    const second = await mail.mailTo(email, { after: first });
    refused(await auth.verifyOtp({ token_hash: first.token, type: 'recovery' }), 'otp_expired', 403);
    assert.equal((await auth.verifyOtp({ token_hash: second.token, type: 'recovery' })).error, null);
  });
});

describe('sign-in by mail', () => {
  test('takes the code', async () => {
    const { email, user, last } = await confirmed();
    const auth = newClient(strict);
    const asked = await auth.signInWithOtp({ email });
    assert.equal(asked.error, null);
    assert.deepEqual({ user: asked.data.user, session: asked.data.session }, { user: null, session: null });
    const m = await mail.mailTo(email, { after: last });
    const { data, error } = await auth.verifyOtp({ email, token: m.code, type: 'email' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.equal(decode(data.session.access_token).claims.amr[0].method, 'otp');
    refused(await auth.verifyOtp({ email, token: m.code, type: 'email' }), 'otp_expired', 403);
  });

  test('takes the button behind the link', async () => {
    const { email, user, last } = await confirmed();
    await newClient(strict).signInWithOtp({ email, options: { emailRedirectTo: 'https://app.example.com/in' } });
    const to = await follow((await mail.mailTo(email, { after: last })).link);
    assert.equal(to.base, 'https://app.example.com/in');
    assert.equal(to.fragment.get('type'), 'magiclink');
    const { data } = await newClient(strict).getUser(to.fragment.get('access_token'));
    assert.equal(data.user.id, user.id);
  });

  test('takes the token hash, types magiclink and email', async () => {
    for (const type of ['magiclink', 'email']) {
      const { email, user, last } = await confirmed();
      const auth = newClient(strict);
      await auth.signInWithOtp({ email });
      const { token } = await mail.mailTo(email, { after: last });
      const { data, error } = await auth.verifyOtp({ token_hash: token, type });
      assert.equal(error, null);
      assert.equal(data.user.id, user.id);
    }
  });

  // Mission: R08
  test('makes a user of an unknown address, if it may', async () => {
    const email = someone();
    const auth = newClient(strict);
    assert.equal((await auth.signInWithOtp({ email, options: { shouldCreateUser: false } })).error, null, 'nobody is told who is unknown');
    await pause();
    assert.equal(await mail.countTo(email, strict.url), 0);
    assert.equal((await auth.signInWithOtp({ email, options: { data: { full_name: 'Bo' } } })).error, null);
    const m = await mail.mailTo(email);
    const { data, error } = await auth.verifyOtp({ email, token: m.code, type: 'email' });
    assert.equal(error, null);
    assert.equal(data.user.user_metadata.full_name, 'Bo');
    assert.ok(Date.parse(data.user.email_confirmed_at));
  });

  // A stranger signs up with Ann's address and waits; Ann comes by mail.
  test('takes the account from who signed up with a foreign address', async () => {
    const email = someone();
    await newClient(strict).signUp({ email, password: 'the stranger’s' });
    const first = await mail.mailTo(email);
    await pause();
    await newClient(strict).signInWithOtp({ email });
    const m = await mail.mailTo(email, { after: first });
    assert.equal((await newClient(strict).verifyOtp({ email, token: m.code, type: 'email' })).error, null);
    refused(await newClient(strict).signInWithPassword({ email, password: 'the stranger’s' }), 'invalid_credentials', 400);
  });
});

describe('a new address', () => {
  // Mission: U06
  test('needs the yes of both mailboxes, by token hash', async () => {
    const { auth, email, user, last } = await confirmed();
    const next = someone('new');
    const asked = await auth.updateUser({ email: next });
    assert.equal(asked.error, null);
    assert.equal(asked.data.user.email, email);
    assert.equal(asked.data.user.new_email, next);
    const [atOld, atNew] = [await mail.mailTo(email, { after: last }), await mail.mailTo(next)];
    assert.notEqual(atOld.token, atNew.token);

    // The first of two answers has neither user nor session.
    const first = await auth.verifyOtp({ token_hash: atNew.token, type: 'email_change' });
    assert.equal(first.error, null);
    assert.deepEqual({ user: first.data.user, session: first.data.session }, { user: null, session: null });
    assert.equal((await auth.getUser()).data.user.email, email);

    const second = await auth.verifyOtp({ token_hash: atOld.token, type: 'email_change' });
    assert.equal(second.error, null);
    assert.equal(second.data.user.id, user.id);
    assert.equal(second.data.user.email, next);
    assert.equal(second.data.user.new_email ?? '', '');
    assert.equal((await newClient(strict).signInWithPassword({ email: next, password: PASSWORD })).error, null);
    refused(await newClient(strict).signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400);
  });

  // Mission: U06
  test('needs the yes of both mailboxes, by code', async () => {
    const { auth, email, last } = await confirmed();
    const next = someone('new');
    await auth.updateUser({ email: next });
    const [atOld, atNew] = [await mail.mailTo(email, { after: last }), await mail.mailTo(next)];
    refused(await auth.verifyOtp({ email: next, token: atOld.code, type: 'email_change' }), 'otp_expired', 403);
    const first = await auth.verifyOtp({ email: next, token: atNew.code, type: 'email_change' });
    assert.equal(first.error, null);
    assert.equal(first.data.session, null);
    const second = await auth.verifyOtp({ email, token: atOld.code, type: 'email_change' });
    assert.equal(second.error, null);
    assert.equal(second.data.user.email, next);
  });

  // Mission: U06
  test('needs the yes of both mailboxes, behind the links', async () => {
    const { auth, email, last } = await confirmed();
    const next = someone('new');
    await auth.updateUser({ email: next }, { emailRedirectTo: 'https://app.example.com/account' });
    const first = await follow((await mail.mailTo(email, { after: last })).link);
    assert.equal(first.base, 'https://app.example.com/account');
    assert.match(first.fragment.get('message') ?? '', /accepted/i);
    assert.equal(first.fragment.get('access_token'), null);
    const second = await follow((await mail.mailTo(next)).link);
    assert.equal(second.fragment.get('type'), 'email_change');
    assert.equal((await newClient(strict).getUser(second.fragment.get('access_token'))).data.user.email, next);
  });

  // Mission: R23
  test('must be one', async () => {
    const { auth } = await confirmed();
    refused(await auth.updateUser({ email: 'not_email' }), 'validation_failed', 400);
  });

  test('is mailed again on request', async () => {
    const { auth, email, last } = await confirmed();
    const next = someone('new');
    await auth.updateUser({ email: next });
    const first = await mail.mailTo(next);
    await mail.mailTo(email, { after: last });
    await pause();
    assert.equal((await auth.resend({ type: 'email_change', email })).error, null);
    const second = await mail.mailTo(next, { after: first });
    refused(await auth.verifyOtp({ token_hash: first.token, type: 'email_change' }), 'otp_expired', 403);
    const yes = await askJSON('POST', `${strict.url}/verify`, { token_hash: second.token, type: 'email_change' });
    assert.equal(yes.status, 200);
    assert.equal(yes.json.code, '200', 'a text, as ever');
    assert.match(yes.json.msg, /^Confirmation link accepted\. Please proceed to confirm link sent to the other email$/);
  });
});

describe('a mail once more', () => {
  // Mission: V05, V11
  test('comes for a sign-up, voids the first, and not at once', async () => {
    const auth = newClient(strict);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const first = await mail.mailTo(email);
    refused(await auth.resend({ type: 'signup', email }), 'over_email_send_rate_limit', 429);
    refused(await auth.signUp({ email, password: PASSWORD }), 'over_email_send_rate_limit', 429);
    await pause();
    assert.equal((await auth.resend({ type: 'signup', email })).error, null);
    const second = await mail.mailTo(email, { after: first });
    refused(await auth.verifyOtp({ token_hash: first.token, type: 'signup' }), 'otp_expired', 403);
    assert.equal((await auth.verifyOtp({ email, token: second.code, type: 'signup' })).error, null);
  });

  test('does not come where there is nothing to confirm', async () => {
    const { auth, email, last } = await confirmed();
    await pause();
    assert.equal((await auth.resend({ type: 'signup', email })).error, null);
    const nobody = someone();
    assert.equal((await auth.resend({ type: 'signup', email: nobody })).error, null);
    assert.equal(await mail.countTo(email, strict.url, { after: last }), 0);
    assert.equal(await mail.countTo(nobody, strict.url), 0);
  });
});

describe('a dead link', () => {
  // Mission: V02
  test('says so and gives nothing', async () => {
    const link = `${strict.url}/verify?token=${'0'.repeat(56)}&type=signup&redirect_to=${encodeURIComponent(SITE)}`;
    const page = await openLink(link);
    assert.ok(page.status < 500, String(page.status));
    if (page.status === 303) {
      assert.match(page.headers.location, /error_code=otp_expired/);
    } else {
      assert.match(page.headers['content-type'], /^text\/html/);
      assert.match(page.text, /expired|invalid|no longer|used|does not work/i);
    }
    if (page.form?.method === 'POST') {
      const to = await press(page);
      assert.equal(to.fragment.get('access_token'), null);
      assert.equal(to.fragment.get('error_code'), 'otp_expired');
    }
  });
});

describe('a server that keeps Netlify’s manners', () => {
  test('still speaks to this client as it expects', async () => {
    const netlify = await startServer(mail, { GATEHOUSE_DIALECT: 'netlify' });
    try {
      const auth = newClient(netlify);
      const email = someone();
      await auth.signUp({ email, password: PASSWORD });
      const m = await mail.mailTo(email);
      assert.ok(m.link.startsWith(`${netlify.url}/verify?`), m.link);
      const to = await follow(m.link);
      const { data } = await auth.setSession({ access_token: to.fragment.get('access_token'), refresh_token: to.fragment.get('refresh_token') });
      assert.equal(data.user.email, email);
      refused(await auth.getUser('rubbish'), 'bad_jwt', 403);
    } finally {
      await netlify.stop();
    }
  });
});
