// @supabase/auth-js, as published: what strangers are told of who has an
// account, which is nothing, unless the operator wants it otherwise.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PASSWORD, sleep, somebodysNumber, someone, startMail, startSMS, startServer } from './harness.mjs';
import { newClient, refused } from './supabase.mjs';

let mail;
let texts;
let silent; // as the server comes
let hint; // Supabase's own way
let all; // Netlify's

before(async () => {
  mail = await startMail();
  texts = await startSMS();
  silent = await startServer(mail, texts.settings);
  hint = await startServer(mail, { GATEHOUSE_REVEAL_ACCOUNTS: 'hint' });
  all = await startServer(mail, { GATEHOUSE_REVEAL_ACCOUNTS: 'all' });
});

after(async () => {
  await Promise.all([silent?.stop(), hint?.stop(), all?.stop()]);
  await Promise.all([mail?.stop(), texts?.stop()]);
});

const pause = () => sleep(2100); // SMTP_MAX_FREQUENCY is two seconds
const another = 'another password';

// member is somebody who has an account, signed in.
async function member(server) {
  const auth = newClient(server);
  const email = someone();
  await auth.signUp({ email, password: PASSWORD });
  const last = await mail.mailTo(email);
  const { data, error } = await auth.verifyOtp({ email, token: last.code, type: 'email' });
  assert.equal(error, null);
  return { auth, email, last, user: data.user };
}

// shape is what an answer has, with what differs from call to call made equal.
function shape(v) {
  if (Array.isArray(v)) return v.map(shape);
  if (v && typeof v === 'object') return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, shape(x)]));
  if (typeof v !== 'string') return v;
  return v
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/[\w-]+@example\.org/gi, '<address>')
    .replace(/49151\d{8}/g, '<number>');
}

describe('a stranger is told nothing', { concurrency: true }, () => {
  // Mission: S18
  test('by a sign-up with an address that is taken', async () => {
    const { email, last, user } = await member(silent);
    await pause();
    const data = { full_name: 'Eve', n: 1 };
    const known = await newClient(silent).signUp({ email: email.toUpperCase(), password: another, options: { data } });
    const unknown = await newClient(silent).signUp({ email: someone(), password: another, options: { data } });
    assert.equal(known.error, null);
    assert.deepEqual(shape(known), shape(unknown));
    assert.equal(known.data.user.identities.length, 1);
    assert.notEqual(known.data.user.id, user.id);

    const told = await mail.mailTo(email, { after: last });
    assert.match(told.subject, /already have an account/);
    assert.equal(told.code, undefined, 'a mail about a taken address carries no secret');
    assert.equal(told.token, undefined);
    refused(await newClient(silent).signInWithPassword({ email, password: another }), 'invalid_credentials', 400);
    assert.equal((await newClient(silent).signInWithPassword({ email, password: PASSWORD })).data.user.id, user.id);
    assert.equal((await newClient(silent).signInWithPassword({ email, password: PASSWORD })).data.user.user_metadata.full_name, undefined);

    await pause();
    const again = await newClient(silent).signUp({ email, password: another });
    assert.equal(again.data.user.id, known.data.user.id, 'a made-up user is the same at each try');
  });

  test('by a sign-up with a number that is taken', async () => {
    const phone = somebodysNumber();
    const auth = newClient(silent);
    await auth.signUp({ phone, password: PASSWORD });
    const first = await texts.smsTo(phone);
    assert.equal((await auth.verifyOtp({ phone, token: first.code, type: 'sms' })).error, null);
    await sleep(1100); // SMS_MAX_FREQUENCY
    const known = await newClient(silent).signUp({ phone, password: another });
    const unknown = await newClient(silent).signUp({ phone: somebodysNumber(), password: another });
    assert.equal(known.error, null);
    assert.deepEqual(shape(known), shape(unknown));
    assert.equal((await texts.smsTo(phone, { after: first })).code, undefined);
    refused(await newClient(silent).signInWithPassword({ phone, password: another }), 'invalid_credentials', 400);
  });

  // Mission: P07
  test('by any request for a mail', async () => {
    const { email } = await member(silent);
    const nobody = someone();
    const asks = {
      otp: (auth, email) => auth.signInWithOtp({ email }),
      'otp for members only': (auth, email) => auth.signInWithOtp({ email, options: { shouldCreateUser: false } }),
      recover: (auth, email) => auth.resetPasswordForEmail(email),
      'resend of a sign-up': (auth, email) => auth.resend({ type: 'signup', email }),
      'resend of a change': (auth, email) => auth.resend({ type: 'email_change', email }),
    };
    for (const [name, ask] of Object.entries(asks)) {
      await pause();
      const known = await ask(newClient(silent), email);
      const unknown = await ask(newClient(silent), nobody);
      assert.equal(known.error, null, name);
      assert.deepEqual(shape(known), shape(unknown), name);
      for (const [who, address] of [['known', email], ['unknown', nobody]]) {
        const { error } = await ask(newClient(silent), address);
        assert.equal(error?.code, 'over_email_send_rate_limit', `${name}, ${who}: too soon for the one and the other`);
      }
    }
  });

  test('by a change to an address that is taken, which never comes true', async () => {
    const ann = await member(silent);
    const eve = await member(silent);
    const known = await eve.auth.updateUser({ email: ann.email });
    assert.equal(known.error, null);
    assert.equal(known.data.user.new_email, ann.email);
    assert.equal(known.data.user.email, eve.email);
    const told = await mail.mailTo(ann.email, { after: ann.last });
    assert.match(told.subject, /stays with your account/);
    assert.equal(told.token, undefined);
    assert.equal(told.code, undefined);
    const own = await mail.mailTo(eve.email, { after: eve.last });
    const first = await eve.auth.verifyOtp({ token_hash: own.token, type: 'email_change' });
    assert.equal(first.error, null);
    assert.equal(first.data.session, null, 'the other mailbox must agree');
    assert.equal((await eve.auth.getUser()).data.user.email, eve.email);
    assert.equal((await newClient(silent).signInWithPassword({ email: ann.email, password: PASSWORD })).data.user.id, ann.user.id);
  });

  test('by wrong codes and passwords', async () => {
    const { email } = await member(silent);
    const nobody = someone();
    for (const address of [email, nobody]) {
      refused(await newClient(silent).verifyOtp({ email: address, token: '000000', type: 'email' }), 'otp_expired', 403);
      refused(await newClient(silent).verifyOtp({ email: address, token: '000000', type: 'recovery' }), 'otp_expired', 403);
      refused(await newClient(silent).signInWithPassword({ email: address, password: another }), 'invalid_credentials', 400);
    }
  });

  // Ten wrong codes in an hour, for whoever has the address and for nobody.
  test('by the end of one’s guesses', async () => {
    const { email, last } = await member(silent);
    const nobody = someone();
    await pause();
    await newClient(silent).signInWithOtp({ email });
    const { code } = await mail.mailTo(email, { after: last });
    for (const address of [email, nobody]) {
      for (let n = 1; n <= 10; n++) {
        const token = String((Number(code) + n) % 1_000_000).padStart(6, '0');
        refused(await newClient(silent).verifyOtp({ email: address, token, type: 'email' }), 'otp_expired', 403);
      }
      refused(await newClient(silent).verifyOtp({ email: address, token: code, type: 'email' }), 'over_request_rate_limit', 429);
    }
  });

  test('by twenty mails of a kind in a day', async () => {
    const few = await startServer(mail, { GATEHOUSE_MAILER_MAX_PER_RECIPIENT: '2', GOTRUE_SMTP_MAX_FREQUENCY: '0' });
    try {
      const email = someone();
      const nobody = someone();
      await newClient(few).signUp({ email, password: PASSWORD });
      for (const address of [email, nobody]) {
        for (let n = 0; n < 2; n++) assert.equal((await newClient(few).resetPasswordForEmail(address)).error, null);
        refused(await newClient(few).resetPasswordForEmail(address), 'over_email_send_rate_limit', 429);
        // Whoever spends the ways back in has spent no confirmation.
        assert.equal((await newClient(few).resend({ type: 'signup', email: address })).error, null);
      }
    } finally {
      await few.stop();
    }
  });
});

describe('REVEAL_ACCOUNTS=hint', { concurrency: true }, () => {
  test('tells this client what it looks for', async () => {
    const { email, last, user } = await member(hint);
    const eve = await member(hint);
    await pause();
    const { data, error } = await newClient(hint).signUp({ email, password: another });
    assert.equal(error, null);
    assert.equal(data.session, null);
    assert.deepEqual(data.user.identities, []);
    assert.notEqual(data.user.id, user.id);
    assert.equal((await mail.mailTo(email, { after: last })).token, undefined);
    refused(await newClient(hint).signInWithOtp({ email: someone(), options: { shouldCreateUser: false } }), 'otp_disabled', 422);
    refused(await eve.auth.updateUser({ email }), 'email_exists', 422);
    assert.equal((await newClient(hint).resetPasswordForEmail(someone())).error, null);
  });
});

describe('REVEAL_ACCOUNTS=all', { concurrency: true }, () => {
  // Mission: R06, R13
  test('says so in an error', async () => {
    const { email } = await member(all);
    const eve = await member(all);
    refused(await newClient(all).signUp({ email, password: another }), 'user_already_exists', 422);
    refused(await newClient(all).signInWithOtp({ email: someone(), options: { shouldCreateUser: false } }), 'otp_disabled', 422);
    refused(await eve.auth.updateUser({ email }), 'email_exists', 422);
    assert.equal((await newClient(all).resetPasswordForEmail(someone())).error, null);
  });
});
