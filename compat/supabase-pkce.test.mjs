// @supabase/auth-js, as published, with flowType pkce: each mailed link gives a
// code, which only the client that asked for the mail can trade for a session.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CHROME, FIREFOX, PASSWORD, SECRET, decode, follow, memory, openLink, press, sign, sleep, someone, startMail, startServer } from './harness.mjs';
import { adminWith, inBrowserAt, newClient, refused, tokensOf } from './supabase.mjs';

const CALLBACK = 'https://app.example.com/cb';

let mail;
let server;
let strict; // a link signs in only where it was asked for

before(async () => {
  mail = await startMail();
  server = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET });
  strict = await startServer(mail, { GATEHOUSE_MAILER_PKCE_BINDING: 'strict' });
});

after(async () => {
  await Promise.all([server?.stop(), strict?.stop()]);
  await mail?.stop();
});

const pause = () => sleep(2100); // SMTP_MAX_FREQUENCY is two seconds
const pkce = (options) => newClient(server, { flowType: 'pkce', ...options });

// member is somebody whose address is confirmed, and who is not signed in.
async function member() {
  const email = someone();
  await newClient(server).signUp({ email, password: PASSWORD });
  const last = await mail.mailTo(email);
  const { data, error } = await newClient(server).verifyOtp({ email, token: last.code, type: 'email' });
  assert.equal(error, null);
  return { email, last, user: data.user };
}

// codeOf is what a link leads to: the callback, and a code of no other use.
function codeOf(to) {
  assert.equal(to.base, CALLBACK);
  assert.equal(to.fragment.get('access_token'), null);
  assert.equal(to.fragment.get('refresh_token'), null);
  const code = to.query.get('code');
  assert.ok(code, to.href);
  return code;
}

// flows are all mails that a client of PKCE asks for: each returns the client,
// the mail, and what the session says of how it came to be.
const flows = {
  async 'a sign-up'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const email = someone();
    await auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: CALLBACK } });
    return { auth, storage, email, m: await mail.mailTo(email), method: 'email/signup' };
  },
  async 'a sign-up, mailed once more'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const first = await mail.mailTo(email);
    await pause();
    assert.equal((await auth.resend({ type: 'signup', email, options: { emailRedirectTo: CALLBACK } })).error, null);
    return { auth, storage, email, m: await mail.mailTo(email, { after: first }), method: 'email/signup' };
  },
  async 'a sign-up without a password'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const email = someone();
    await auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } });
    return { auth, storage, email, m: await mail.mailTo(email), method: 'email/signup' };
  },
  async 'a sign-in by mail'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const { email, last } = await member();
    await auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } });
    return { auth, storage, email, m: await mail.mailTo(email, { after: last }), method: 'magiclink' };
  },
  async 'a forgotten password'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const { email, last } = await member();
    await auth.resetPasswordForEmail(email, { redirectTo: CALLBACK });
    return { auth, storage, email, m: await mail.mailTo(email, { after: last }), method: 'recovery' };
  },
  async 'a new address'() {
    const storage = memory();
    const auth = pkce({ storage, storageKey: 'key' });
    const { email, last } = await member();
    await auth.signInWithPassword({ email, password: PASSWORD });
    const next = someone('new');
    await auth.updateUser({ email: next }, { emailRedirectTo: CALLBACK });
    const first = await follow((await mail.mailTo(email, { after: last })).link);
    assert.equal(first.query.get('code'), null);
    assert.match(first.fragment.get('message') ?? '', /accepted/i);
    return { auth, storage, email: next, m: await mail.mailTo(next), method: 'email_change' };
  },
};

describe('PKCE', { concurrency: true }, () => {
  for (const [name, ask] of Object.entries(flows)) {
    // Mission: S21, V01, P04, U06
    test(`of ${name} gives the session to who asked, once`, async () => {
      const { auth, storage, email, m, method } = await ask();
      assert.match(m.token, /^pkce_/);
      const code = codeOf(await follow(m.link));

      // Another client has another verifier, or none.
      const thief = pkce();
      await thief.resetPasswordForEmail(someone());
      refused(await thief.exchangeCodeForSession(code), 'bad_code_verifier', 400);
      const { error: none } = await pkce().exchangeCodeForSession(code);
      assert.equal(none?.name, 'AuthPKCECodeVerifierMissingError');

      const kept = storage.getItem('key-code-verifier');
      const events = [];
      auth.onAuthStateChange((event) => void events.push(event));
      const { data, error } = await auth.exchangeCodeForSession(code);
      assert.equal(error, null);
      assert.equal(data.user.email, email);
      assert.equal((await auth.getUser()).data.user.email, email);
      assert.equal(decode(data.session.access_token).claims.amr[0].method, method);
      assert.equal(data.redirectType ?? null, method === 'recovery' ? 'recovery' : null);
      assert.ok(events.includes(method === 'recovery' ? 'PASSWORD_RECOVERY' : 'SIGNED_IN'), events.join());

      storage.setItem('key-code-verifier', kept);
      refused(await auth.exchangeCodeForSession(code), 'flow_state_not_found', 404);

      // The used link tells it where this client looks: in the query.
      const dead = await openLink(m.link);
      const told = dead.status === 303 ? new URL(dead.headers.location) : new URL((await press(dead)).href);
      assert.equal(told.searchParams.get('error_code'), 'otp_expired');
      assert.equal(told.searchParams.get('code'), null);
    });
  }

  // Mission: P04, S21
  test('lets who forgot the password choose a new one', async () => {
    const { auth, email, m } = await flows['a forgotten password']();
    assert.equal((await auth.exchangeCodeForSession(codeOf(await follow(m.link)))).error, null);
    assert.equal((await auth.updateUser({ password: 'a new password' })).error, null);
    assert.equal((await newClient(server).signInWithPassword({ email, password: 'a new password' })).error, null);
  });

  // Mission: R19
  test('has no part in an invitation, which an operator asked for', async () => {
    const email = someone();
    await adminWith(server, sign({ role: 'service_role' })).inviteUserByEmail(email, { redirectTo: CALLBACK });
    const { link } = await mail.mailTo(email);
    const to = await follow(link);
    assert.equal(to.base, CALLBACK);
    const auth = pkce();
    assert.equal((await auth.setSession(tokensOf(to))).data.user.email, email);
  });

  test('needs a mailed code no verifier', async () => {
    const auth = pkce();
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const { data, error } = await auth.verifyOtp({ email, token: (await mail.mailTo(email)).code, type: 'email' });
    assert.equal(error, null);
    assert.ok(data.session.access_token);
  });

  test('refuses a code nobody made', async () => {
    const auth = pkce();
    await auth.resetPasswordForEmail(someone());
    refused(await auth.exchangeCodeForSession('0d5bcb0b-8a0f-4b67-9d5e-6e3a3d5e3c55'), 'flow_state_not_found', 404);
  });
});

describe('a link of PKCE that is opened elsewhere', { concurrency: true }, () => {
  const text = (page) => page.text.replace(/<style[\s\S]*?<\/style>/g, '').replace(/<[^>]+>/g, '');

  test('says where it was asked for, and signs in where it is opened', async () => {
    const { auth, email, m } = await flows['a sign-in by mail']();
    const page = await openLink(m.link, { agent: FIREFOX });
    assert.match(text(page), /You asked for it in Chrome on Linux, and opened it in Firefox on Windows/);
    const to = await press(page);
    assert.equal(to.base, CALLBACK);
    assert.equal(to.query.get('code'), null);
    const { data, error } = await newClient(server, { headers: { 'User-Agent': FIREFOX } }).setSession(tokensOf(to));
    assert.equal(error, null);
    assert.equal(data.user.email, email);
    assert.equal((await auth.getSession()).data.session, null, 'not where it was asked for');
  });

  test('leaves the code of the same mail for the other device', async () => {
    const { auth, email, m } = await flows['a sign-in by mail']();
    await openLink(m.link, { agent: FIREFOX });
    assert.equal((await auth.verifyOtp({ email, token: m.code, type: 'email' })).data.user.email, email);
    const dead = await openLink(m.link, { agent: FIREFOX });
    assert.equal(dead.status, 303);
    assert.match(dead.headers.location, /error_code=otp_expired/);
  });

  test('signs in nowhere else, where the operator wants it so', async () => {
    const auth = newClient(strict, { flowType: 'pkce' });
    const email = someone();
    await auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: CALLBACK } });
    const page = await openLink((await mail.mailTo(email)).link, { agent: FIREFOX });
    assert.match(text(page), /You asked for it in Chrome on Linux, and it .* there alone/);
    const code = codeOf(await press(page));
    const other = newClient(strict, { flowType: 'pkce', headers: { 'User-Agent': FIREFOX } });
    assert.equal((await other.exchangeCodeForSession(code)).error?.name, 'AuthPKCECodeVerifierMissingError');
    assert.equal((await auth.exchangeCodeForSession(code)).data.user.email, email);
  });

  // A site that renders on its server asks from there, and so does an app: the
  // browser that opens the link is another program by nature. Theirs is the
  // verifier all the same.
  for (const agent of ['node', 'Dart/3.8 (dart:io)', 'okhttp/4.12.0', '']) {
    test(`still is its own where a program asked that is no browser, «${agent}»`, async () => {
      const auth = pkce({ headers: { 'User-Agent': agent } });
      const email = someone();
      await auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: CALLBACK } });
      const code = codeOf(await follow((await mail.mailTo(email)).link, { agent: CHROME }));
      assert.equal((await auth.exchangeCodeForSession(code)).data.user.email, email);
    });
  }
});

describe('a site of PKCE on another device', () => {
  // The client with flowType pkce takes no tokens from the address, wherever
  // they come from: «Not a valid PKCE flow url.». The mail has a code, too.
  test('is signed in by the code of the mail', async (t) => {
    const { email, m } = await flows['a sign-in by mail']();
    await openLink(m.link, { agent: FIREFOX });
    inBrowserAt(t, CALLBACK);
    const auth = pkce({ headers: { 'User-Agent': FIREFOX }, detectSessionInUrl: true });
    assert.equal((await auth.initialize()).error, null);
    assert.equal((await auth.verifyOtp({ email, token: m.code, type: 'email' })).error, null);
    assert.equal((await auth.getSession()).data.session?.user.email, email);
  });
});
