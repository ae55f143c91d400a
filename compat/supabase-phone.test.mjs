// @supabase/auth-js, as published: everything that goes to a telephone. The
// text messages are those that Twilio gets.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PASSWORD, SECRET, ask, decode, sign, sleep, somebodysNumber, someone, startMail, startSMS, startServer } from './harness.mjs';
import { adminWith, newClient, refused } from './supabase.mjs';

let mail;
let texts;
let strict; // numbers must be confirmed
let open; // they need not

before(async () => {
  mail = await startMail();
  texts = await startSMS();
  const settings = { ...texts.settings, GOTRUE_JWT_SECRET: SECRET };
  strict = await startServer(mail, settings);
  open = await startServer(mail, { ...settings, GOTRUE_SMS_AUTOCONFIRM: 'true', GOTRUE_MAILER_AUTOCONFIRM: 'true' });
});

after(async () => {
  await Promise.all([strict?.stop(), open?.stop()]);
  await Promise.all([mail?.stop(), texts?.stop()]);
});

const pause = () => sleep(1100); // SMS_MAX_FREQUENCY is one second
const bare = (number) => number.replace('+', ''); // as an answer has it
const wrong = (code) => (code === '000000' ? '000001' : '000000');

// caller is somebody whose number is confirmed, signed in.
async function caller() {
  const auth = newClient(strict);
  const phone = somebodysNumber();
  await auth.signUp({ phone, password: PASSWORD });
  const last = await texts.smsTo(phone);
  const { data, error } = await auth.verifyOtp({ phone, token: last.code, type: 'sms' });
  assert.equal(error, null);
  return { auth, phone, last, user: data.user };
}

describe('a sign-up by telephone', { concurrency: true }, () => {
  // Mission: R09, R12, V09, V14, S03
  test('waits for the code of a text message, and then signs in', async () => {
    const auth = newClient(strict);
    const phone = somebodysNumber();
    const { data, error } = await auth.signUp({ phone, password: PASSWORD, options: { data: { full_name: 'Ann' } } });
    assert.equal(error, null);
    assert.equal(data.session, null);
    assert.equal(data.user.phone, bare(phone));
    assert.equal(data.user.email, '');
    assert.equal(data.user.phone_confirmed_at, undefined);
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['phone']);
    assert.deepEqual(data.user.app_metadata, { provider: 'phone', providers: ['phone'] });
    assert.equal(data.user.user_metadata.full_name, 'Ann');
    refused(await auth.signInWithPassword({ phone, password: PASSWORD }), 'phone_not_confirmed', 400);
    refused(await auth.signInWithPassword({ phone, password: 'wrong password' }), 'invalid_credentials', 400);

    const m = await texts.smsTo(phone);
    assert.match(m.code, /^\d{6}$/);
    assert.equal(m.channel, 'sms');
    assert.match(m.service, /^MG/);
    refused(await auth.verifyOtp({ phone, token: wrong(m.code), type: 'sms' }), 'otp_expired', 403);
    const done = await auth.verifyOtp({ phone, token: m.code, type: 'sms' });
    assert.equal(done.error, null);
    assert.equal(done.data.user.id, data.user.id);
    assert.ok(Date.parse(done.data.user.phone_confirmed_at));
    assert.ok(Date.parse(done.data.user.confirmed_at));
    const { claims } = decode(done.data.session.access_token);
    assert.equal(claims.phone, bare(phone));
    assert.equal(claims.amr[0].method, 'otp');
    refused(await auth.verifyOtp({ phone, token: m.code, type: 'sms' }), 'otp_expired', 403);
    assert.equal(texts.countTo(phone), 1);

    const again = await newClient(strict).signInWithPassword({ phone, password: PASSWORD });
    assert.equal(again.data.user.id, data.user.id);
    refused(await newClient(strict).signInWithPassword({ phone, password: 'wrong password' }), 'invalid_credentials', 400);
    refused(await newClient(strict).signInWithPassword({ phone: somebodysNumber(), password: PASSWORD }), 'invalid_credentials', 400);
  });

  // Mission: R09, V14, R14
  test('signs in at once where numbers need no confirmation', async () => {
    const auth = newClient(open);
    const phone = somebodysNumber();
    const { data, error } = await auth.signUp({ phone, password: PASSWORD });
    assert.equal(error, null);
    assert.ok(data.session.access_token);
    assert.ok(Date.parse(data.user.phone_confirmed_at));
    assert.equal((await newClient(open).signInWithPassword({ phone, password: PASSWORD })).data.user.id, data.user.id);
    assert.equal(texts.countTo(phone), 0);
    refused(await newClient(open).signUp({ phone, password: PASSWORD }), 'user_already_exists', 422);
  });

  test('sends the code once more on request, but not at once', async () => {
    const auth = newClient(strict);
    const phone = somebodysNumber();
    await auth.signUp({ phone, password: PASSWORD });
    const first = await texts.smsTo(phone);
    refused(await auth.resend({ type: 'sms', phone }), 'over_sms_send_rate_limit', 429);
    await pause();
    const asked = await auth.resend({ type: 'sms', phone });
    assert.equal(asked.error, null);
    assert.ok(asked.data.messageId);
    const second = await texts.smsTo(phone, { after: first });
    if (first.code !== second.code) refused(await auth.verifyOtp({ phone, token: first.code, type: 'sms' }), 'otp_expired', 403);
    assert.equal((await auth.verifyOtp({ phone, token: second.code, type: 'sms' })).error, null);
    await pause();
    assert.equal((await auth.resend({ type: 'sms', phone })).error, null);
    assert.equal((await auth.resend({ type: 'sms', phone: somebodysNumber() })).error, null, 'nobody is told who has a number');
    await pause();
    assert.equal(texts.countTo(phone, { after: second }), 0, 'there is nothing to confirm any more');
  });

  test('goes over WhatsApp, if that is asked for', async () => {
    const auth = newClient(strict);
    const phone = somebodysNumber();
    assert.equal((await auth.signUp({ phone, password: PASSWORD, options: { channel: 'whatsapp' } })).error, null);
    const m = await texts.smsTo(phone);
    assert.equal(m.channel, 'whatsapp');
    assert.equal((await auth.verifyOtp({ phone, token: m.code, type: 'sms' })).error, null);
    await pause();
    await auth.signInWithOtp({ phone, options: { channel: 'whatsapp' } });
    assert.equal((await texts.smsTo(phone, { after: m })).channel, 'whatsapp');
    refused(await auth.signUp({ phone: somebodysNumber(), password: PASSWORD, options: { channel: 'pigeon' } }), 'validation_failed', 400);
  });

  test('refuses what is no number', async () => {
    for (const phone of ['1', '+0123456789', 'not-a-number', '+4915112345678901234']) {
      refused(await newClient(strict).signUp({ phone, password: PASSWORD }), 'validation_failed', 400);
      refused(await newClient(strict).signInWithOtp({ phone }), 'validation_failed', 400);
    }
    const { error } = await newClient(strict).signUp({ phone: somebodysNumber(), password: 'short' });
    assert.deepEqual(error.reasons, ['length']);
  });

  test('leaves nobody behind when the message cannot be sent', async () => {
    const auth = newClient(strict);
    const admin = adminWith(strict, sign({ role: 'service_role' }));
    const phone = somebodysNumber();
    texts.refuse(phone);
    const { data } = await auth.signUp({ phone, password: PASSWORD });
    for (let n = 0; n < 30 && (await admin.getUserById(data.user.id)).error === null; n++) await sleep(100);
    refused(await admin.getUserById(data.user.id), 'user_not_found', 404);
    texts.accept(phone);
    await pause();
    const again = await auth.signUp({ phone, password: PASSWORD });
    assert.equal(again.error, null);
    assert.equal((await auth.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'sms' })).error, null);
  });

  test('spends a code after five wrong guesses', async () => {
    const auth = newClient(strict);
    const phone = somebodysNumber();
    await auth.signUp({ phone, password: PASSWORD });
    const { code } = await texts.smsTo(phone);
    for (let n = 1; n <= 5; n++) {
      const token = String((Number(code) + n) % 1_000_000).padStart(6, '0');
      refused(await auth.verifyOtp({ phone, token, type: 'sms' }), 'otp_expired', 403);
    }
    refused(await auth.verifyOtp({ phone, token: code, type: 'sms' }), 'otp_expired', 403);
  });
});

describe('a sign-in by telephone', { concurrency: true }, () => {
  test('takes the code, once', async () => {
    const { phone, user, last } = await caller();
    await pause();
    const auth = newClient(strict);
    const asked = await auth.signInWithOtp({ phone });
    assert.equal(asked.error, null);
    assert.deepEqual([asked.data.user, asked.data.session], [null, null]);
    assert.ok(asked.data.messageId);
    const { code } = await texts.smsTo(phone, { after: last });
    refused(await auth.verifyOtp({ phone, token: code, type: 'phone_change' }), 'otp_expired', 403);
    refused(await auth.verifyOtp({ phone: somebodysNumber(), token: code, type: 'sms' }), 'otp_expired', 403);
    const { data, error } = await auth.verifyOtp({ phone, token: code, type: 'sms' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    refused(await auth.verifyOtp({ phone, token: code, type: 'sms' }), 'otp_expired', 403);
  });

  test('makes a user of an unknown number, if it may', async () => {
    const phone = somebodysNumber();
    const auth = newClient(strict);
    assert.equal((await auth.signInWithOtp({ phone, options: { shouldCreateUser: false } })).error, null, 'nobody is told who is unknown');
    await pause();
    assert.equal(texts.countTo(phone), 0);
    assert.equal((await auth.signInWithOtp({ phone, options: { data: { full_name: 'Bo' } } })).error, null);
    const { data, error } = await auth.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'sms' });
    assert.equal(error, null);
    assert.equal(data.user.user_metadata.full_name, 'Bo');
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['phone']);
  });

  test('proves who is there before a new password', async () => {
    const { auth, phone, last } = await caller();
    await pause();
    assert.equal((await auth.reauthenticate()).error, null);
    const { code } = await texts.smsTo(phone, { after: last });
    refused(await newClient(strict).verifyOtp({ phone, token: code, type: 'sms' }), 'otp_expired', 403);
    assert.equal((await auth.updateUser({ password: 'a new password', nonce: code })).error, null);
    assert.equal((await newClient(strict).signInWithPassword({ phone, password: 'a new password' })).error, null);
  });
});

describe('a new number', { concurrency: true }, () => {
  test('becomes the user’s with the code that was sent there', async () => {
    const { auth, phone, user } = await caller();
    const next = somebodysNumber();
    const asked = await auth.updateUser({ phone: next });
    assert.equal(asked.error, null);
    assert.equal(asked.data.user.phone, bare(phone));
    assert.equal(asked.data.user.new_phone, bare(next));
    const { code } = await texts.smsTo(next);
    refused(await auth.verifyOtp({ phone: next, token: wrong(code), type: 'phone_change' }), 'otp_expired', 403);
    refused(await auth.verifyOtp({ phone: next, token: code, type: 'sms' }), 'otp_expired', 403);
    const { data, error } = await auth.verifyOtp({ phone: next, token: code, type: 'phone_change' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    assert.equal(data.user.phone, bare(next));
    assert.equal(data.user.new_phone ?? '', '');
    assert.ok(data.session.access_token);
    assert.equal((await newClient(strict).signInWithPassword({ phone: next, password: PASSWORD })).data.user.id, user.id);
    refused(await newClient(strict).signInWithPassword({ phone, password: PASSWORD }), 'invalid_credentials', 400);
  });

  test('is the user’s at once where numbers need no confirmation', async () => {
    const auth = newClient(open);
    await auth.signUp({ phone: somebodysNumber(), password: PASSWORD });
    const next = somebodysNumber();
    assert.equal((await auth.updateUser({ phone: next })).data.user.phone, bare(next));
    assert.equal((await newClient(open).signInWithPassword({ phone: next, password: PASSWORD })).error, null);
    const taken = somebodysNumber();
    await newClient(open).signUp({ phone: taken, password: PASSWORD });
    await pause();
    refused(await auth.updateUser({ phone: taken }), 'phone_exists', 422);
  });

  test('is sent the code once more on request', async () => {
    const { auth, phone } = await caller();
    const next = somebodysNumber();
    await auth.updateUser({ phone: next });
    const first = await texts.smsTo(next);
    await pause();
    // Asked for by the number the user still has, as with an address.
    const asked = await auth.resend({ type: 'phone_change', phone });
    assert.equal(asked.error, null);
    assert.ok(asked.data.messageId);
    const { code } = await texts.smsTo(next, { after: first });
    assert.equal((await auth.verifyOtp({ phone: next, token: code, type: 'phone_change' })).data.user.phone, bare(next));
  });

  test('is added to an address, and the address to a number', async () => {
    const auth = newClient(strict);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD });
    const { data } = await auth.verifyOtp({ email, token: (await mail.mailTo(email)).code, type: 'email' });
    const phone = somebodysNumber();
    await auth.updateUser({ phone });
    const with2 = await auth.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'phone_change' });
    assert.deepEqual(with2.data.user.identities.map((i) => i.provider).sort(), ['email', 'phone']);
    assert.deepEqual([...with2.data.user.app_metadata.providers].sort(), ['email', 'phone']);
    for (const who of [{ email }, { phone }]) {
      assert.equal((await newClient(strict).signInWithPassword({ ...who, password: PASSWORD })).data.user.id, data.user.id);
    }

    const other = await caller();
    const next = someone('new');
    await other.auth.updateUser({ email: next });
    const m = await mail.mailTo(next);
    const { data: done, error } = await other.auth.verifyOtp({ email: next, token: m.code, type: 'email_change' });
    assert.equal(error, null);
    assert.equal(done.user.email, next);
    assert.equal((await newClient(strict).signInWithPassword({ email: next, password: PASSWORD })).data.user.id, other.user.id);
  });

  test('that is taken is asked for in vain, and nobody is told or called', async () => {
    const ann = await caller();
    const eve = await caller();
    await pause();
    const asked = await eve.auth.updateUser({ phone: ann.phone });
    assert.equal(asked.error, null);
    assert.equal(asked.data.user.new_phone, bare(ann.phone));
    await pause();
    assert.equal(texts.countTo(ann.phone, { after: ann.last }), 0);
    assert.equal((await eve.auth.getUser()).data.user.phone, bare(eve.phone));
  });
});

describe('an operator', { concurrency: true }, () => {
  // Mission: U13
  test('makes, finds and changes users with a number', async () => {
    const admin = adminWith(strict, sign({ role: 'service_role' }));
    const phone = somebodysNumber();
    const made = await admin.createUser({ phone, password: PASSWORD, phone_confirm: true });
    assert.equal(made.error, null);
    assert.equal(made.data.user.phone, bare(phone));
    assert.ok(Date.parse(made.data.user.phone_confirmed_at));
    assert.equal((await newClient(strict).signInWithPassword({ phone, password: PASSWORD })).data.user.id, made.data.user.id);
    refused(await admin.createUser({ phone, password: PASSWORD }), 'phone_exists', 422);

    const waiting = somebodysNumber();
    const { data } = await admin.createUser({ phone: waiting, password: PASSWORD });
    refused(await newClient(strict).signInWithPassword({ phone: waiting, password: PASSWORD }), 'phone_not_confirmed', 400);
    assert.ok(Date.parse((await admin.updateUserById(data.user.id, { phone_confirm: true })).data.user.phone_confirmed_at));
    assert.equal((await newClient(strict).signInWithPassword({ phone: waiting, password: PASSWORD })).error, null);

    const next = somebodysNumber();
    const moved = await admin.updateUserById(data.user.id, { phone: next });
    assert.equal(moved.data.user.phone, bare(next));
    assert.equal((await newClient(strict).signInWithPassword({ phone: next, password: PASSWORD })).error, null);
    refused(await admin.updateUserById(data.user.id, { phone }), 'phone_exists', 422);
    refused(await admin.updateUserById(data.user.id, { phone: 'not-a-number' }), 'validation_failed', 400);
    assert.equal((await admin.getUserById(data.user.id)).data.user.phone, bare(next));
    assert.equal(texts.countTo(waiting) + texts.countTo(next) + texts.countTo(phone), 0, 'nobody is called');
  });

  test('makes users with an address and a number', async () => {
    const admin = adminWith(strict, sign({ role: 'service_role' }));
    const both = { email: someone(), phone: somebodysNumber() };
    const { data, error } = await admin.createUser({ ...both, password: PASSWORD, email_confirm: true, phone_confirm: true });
    assert.equal(error, null);
    for (const [k, v] of Object.entries(both)) {
      assert.equal((await newClient(strict).signInWithPassword({ [k]: v, password: PASSWORD })).data.user.id, data.user.id);
    }
    assert.deepEqual(data.user.identities.map((i) => i.provider).sort(), ['email', 'phone']);
  });
});

// Mission: U18
test('the settings tell of telephones', async () => {
  const { json } = await ask('GET', `${strict.url}/settings`);
  assert.equal(json.external.phone, true);
  assert.equal(json.phone_autoconfirm, false);
  assert.equal(json.sms_provider, 'twilio');
  assert.equal((await ask('GET', `${open.url}/settings`)).json.phone_autoconfirm, true);
});
