// @supabase/auth-js, as published: passwords, what the server says of weak
// ones, and what it asks for before it takes a new one.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { isAuthSessionMissingError, isAuthWeakPasswordError } from '@supabase/auth-js';
import { PASSWORD, SECRET, follow, sign, sleep, someone, startMail, startServer } from './harness.mjs';
import { adminWith, newClient, refused, signedUp, tokensOf } from './supabase.mjs';

const NEXT = 'a new password';
const STOLEN = 'a password that was stolen once';

let mail;
let leaks; // a service that knows stolen passwords, as Have I Been Pwned does
let open; // addresses need no confirmation
let picky; // length, characters and stolen passwords
let careful; // asks for the old password before a new one

before(async () => {
  mail = await startMail();
  const hash = createHash('sha1').update(STOLEN).digest('hex').toUpperCase();
  leaks = http.createServer((req, res) => {
    const lines = ['0018A45C4D1DEF81644B54AB7F969B88D65:3'];
    if (req.url === `/range/${hash.slice(0, 5)}`) lines.push(`${hash.slice(5)}:42`);
    res.writeHead(200, { 'Content-Type': 'text/plain' }).end(lines.join('\r\n'));
  });
  await new Promise((r) => leaks.listen(0, '127.0.0.1', r));
  const common = { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' };
  open = await startServer(mail, common);
  picky = await startServer(mail, {
    ...common,
    GOTRUE_PASSWORD_MIN_LENGTH: '10',
    GOTRUE_PASSWORD_REQUIRED_CHARACTERS: 'abcdefghijklmnopqrstuvwxyz:0123456789 ',
    GOTRUE_PASSWORD_HIBP_ENABLED: 'true',
    GATEHOUSE_PASSWORD_HIBP_URL: `http://127.0.0.1:${leaks.address().port}`,
    GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true',
  });
  careful = await startServer(mail, { ...common, GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD: 'true' });
});

after(async () => {
  await Promise.all([open?.stop(), picky?.stop(), careful?.stop()]);
  leaks?.close();
  await mail?.stop();
});

// weak checks that an answer is the refusal of a weak password, and returns it.
function weak({ error }, ...reasons) {
  assert.ok(isAuthWeakPasswordError(error), String(error));
  assert.equal(error.status, 422);
  assert.equal(error.code, 'weak_password');
  assert.ok(error.message.length > 20, error.message);
  assert.deepEqual([...error.reasons].sort(), reasons.sort());
  return error;
}

describe('a weak password', { concurrency: true }, () => {
  // Mission: R22, P08
  test('is refused at sign-up, with the reasons', async () => {
    const auth = newClient(open);
    const answer = await auth.signUp({ email: someone(), password: 'short' });
    assert.match(weak(answer, 'length').message, /at least 6 characters/);
    assert.equal(answer.data.user, null);
    assert.equal((await auth.signUp({ email: someone(), password: 'q7-xk2' })).error, null);
    weak(await newClient(open).signUp({ email: someone(), password: 'password1' }), 'pwned');
    weak(await newClient(open).signUp({ email: someone(), password: 'Qwerty' }), 'pwned');
    refused(await newClient(open).signUp({ email: someone(), password: '' }), 'validation_failed', 400);
    refused(await newClient(open).signUp({ email: someone(), password: 'x'.repeat(1025) }), 'validation_failed', 400);
  });

  // Mission: R22
  test('is refused by every rule the operator made', async () => {
    const tried = (password) => newClient(picky).signUp({ email: someone(), password });
    weak(await tried('ABC'), 'length', 'characters');
    weak(await tried('turnipfields'), 'characters');
    weak(await tried('tu9rnip'), 'length');
    weak(await tried(STOLEN), 'pwned');
    assert.equal((await tried(`${STOLEN} 2`)).error, null);
  });

  // Mission: P08
  test('is refused wherever one is set', async () => {
    const { auth } = await signedUp(open);
    weak(await auth.updateUser({ password: 'short' }), 'length');
    weak(await auth.updateUser({ password: 'password1' }), 'pwned');
    const admin = adminWith(open, sign({ role: 'service_role' }));
    weak(await admin.createUser({ email: someone(), password: 'short' }), 'length');
    const { data } = await admin.createUser({ email: someone() });
    weak(await admin.updateUserById(data.user.id, { password: 'short' }), 'length');
    weak(await admin.generateLink({ type: 'signup', email: someone(), password: 'short' }), 'length');
  });

  test('is told of to who signs in with one from before', async () => {
    const admin = adminWith(open, sign({ role: 'service_role' }));
    const email = someone();
    const password_hash = '$2a$04$1X7Q7KaWrVuRC457VLZ7MuZ1WPGIzR9TbdRBSecC2D0F2OWA.SIz.'; // of «short»
    assert.equal((await admin.createUser({ email, password_hash, email_confirm: true })).error, null);
    const { data, error } = await newClient(open).signInWithPassword({ email, password: 'short' });
    assert.equal(error, null);
    assert.ok(data.session);
    assert.deepEqual(data.weakPassword.reasons, ['length']);
    assert.ok(data.weakPassword.message);
  });
});

describe('a new password', { concurrency: true }, () => {
  // Mission: P02
  test('ends the sessions of who knew the old one', async () => {
    const { auth, email, session } = await signedUp(open);
    const other = newClient(open);
    await other.signInWithPassword({ email, password: PASSWORD });
    const same = refused(await auth.updateUser({ password: PASSWORD }), 'same_password', 422);
    assert.match(same.message, /different/);
    const events = [];
    auth.onAuthStateChange((event) => void events.push(event));

    assert.equal((await auth.updateUser({ password: NEXT })).error, null);
    assert.ok(events.includes('USER_UPDATED'), events.join());
    refused(await newClient(open).signInWithPassword({ email, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await newClient(open).signInWithPassword({ email, password: NEXT })).error, null);
    assert.equal((await newClient(open).getUser(session.access_token)).error, null, 'the session that changed it goes on');
    assert.ok(isAuthSessionMissingError((await other.getUser()).error));
  });

  // Mission: P02
  test('needs the old one, where the operator asks for it', async () => {
    const { auth, email } = await signedUp(careful);
    refused(await auth.updateUser({ password: NEXT }), 'current_password_required', 400);
    refused(await auth.updateUser({ password: NEXT, current_password: 'wrong password' }), 'current_password_invalid', 400);
    refused(await auth.updateUser({ password: PASSWORD, current_password: PASSWORD }), 'same_password', 422);
    assert.equal((await auth.updateUser({ password: NEXT, current_password: PASSWORD })).error, null);
    assert.equal((await newClient(careful).signInWithPassword({ email, password: NEXT })).error, null);
  });

  // Mission: P04
  test('does not need it of who forgot it', async () => {
    const { email } = await signedUp(careful);
    const auth = newClient(careful);
    await auth.resetPasswordForEmail(email);
    await auth.setSession(tokensOf(await follow((await mail.mailTo(email)).link)));
    assert.equal((await auth.updateUser({ password: NEXT })).error, null);
    assert.equal((await newClient(careful).signInWithPassword({ email, password: NEXT })).error, null);
  });
});

describe('reauthentication', { concurrency: true }, () => {
  test('mails a code to be typed, which is good with a new password', async () => {
    const { auth, email } = await signedUp(open);
    const asked = await auth.reauthenticate();
    assert.deepEqual(asked, { data: { user: null, session: null }, error: null });
    const m = await mail.mailTo(email);
    assert.match(m.subject, /Reauthentication/);
    assert.match(m.code, /^\d{6}$/);
    assert.equal(m.link, undefined, 'it is typed, not clicked');
    refused(await auth.reauthenticate(), 'over_email_send_rate_limit', 429);
    refused(await newClient(open).verifyOtp({ email, token: m.code, type: 'email' }), 'otp_expired', 403);
    const { data, error } = await auth.updateUser({ password: NEXT, nonce: m.code });
    assert.equal(error, null);
    assert.ok(Date.parse(data.user.reauthentication_sent_at));
    assert.equal((await newClient(open).signInWithPassword({ email, password: NEXT })).error, null);
    assert.ok(isAuthSessionMissingError((await newClient(open).reauthenticate()).error));
  });
});
