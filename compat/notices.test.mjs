// The mails that tell of a change nobody asked the mailbox about, and their
// link for who says: this was not me.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthSessionMissingError } from '@supabase/auth-js';
import { FIREFOX, PASSWORD, SECRET, ask, follow, openLink, sign, sleep, somebodysNumber, someone, startMail, startSMS, startServer, submit } from './harness.mjs';
import { adminWith, newClient, refused, signedUp, tokensOf } from './supabase.mjs';

const NEXT = 'a new password';
const PASSWORD_CHANGED = /password has been changed/;
const EMAIL_CHANGED = /address has been changed/;
const PHONE_CHANGED = /phone number has been changed/;
const RECOVERY = /Reset Your Password/;

let mail;
let texts;
let server; // with telephones, and links of this client's style

before(async () => {
  mail = await startMail();
  texts = await startSMS();
  server = await startServer(mail, {
    ...texts.settings,
    GOTRUE_JWT_SECRET: SECRET,
    GOTRUE_MAILER_AUTOCONFIRM: 'true',
    GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED: 'false',
    GATEHOUSE_MAILER_LINK_STYLE: 'supabase',
  });
});

after(async () => {
  await server?.stop();
  await Promise.all([mail?.stop(), texts?.stop()]);
});

// thief is somebody who got hold of a password.
async function thief(email, password = PASSWORD) {
  const auth = newClient(server, { headers: { 'User-Agent': FIREFOX } });
  assert.equal((await auth.signInWithPassword({ email, password })).error, null);
  return auth;
}

// moved is a user whose address a thief has changed, and the notice of it.
async function moved() {
  const { auth, email, user } = await signedUp(server);
  const eve = await thief(email);
  const theirs = someone('eve');
  await eve.updateUser({ email: theirs });
  const { error } = await eve.verifyOtp({ token_hash: (await mail.mailTo(theirs)).token, type: 'email_change' });
  assert.equal(error, null);
  return { auth, email, user, eve, theirs, notice: await mail.mailTo(email, { about: EMAIL_CHANGED }) };
}

// safe checks what every «this was not me» does: nobody is signed in, no
// password works, and a mail lets the owner in to choose one.
async function safe({ email, user, clients, passwords, after: last }) {
  for (const c of clients) assert.ok(isAuthSessionMissingError((await c.getUser()).error));
  for (const password of passwords) refused(await newClient(server).signInWithPassword({ email, password }), 'invalid_credentials', 400);
  const auth = newClient(server);
  const to = await follow((await mail.mailTo(email, { after: last, about: RECOVERY })).link);
  const { data } = await auth.setSession(tokensOf(to));
  assert.equal(data.user.id, user.id);
  assert.equal(data.user.email, email);
  assert.equal((await auth.updateUser({ password: 'the owner’s own' })).error, null);
  assert.equal((await newClient(server).signInWithPassword({ email, password: 'the owner’s own' })).data.user.id, user.id);
}

const text = (page) => page.text.replace(/<style[\s\S]*?<\/style>/g, '').replace(/<[^>]+>/g, ' ');

// undo opens the link of a notice and says: this was not me.
async function undo(notice) {
  const page = await openLink(notice.link);
  assert.equal(page.status, 200, text(page));
  assert.match(text(page), /This was not me/);
  const done = await submit(page);
  assert.equal(done.status, 200, text(done));
  assert.match(text(done), /safe again/);
  return done;
}

describe('a notice', { concurrency: true }, () => {
  test('tells of a new password, of which device and when', async () => {
    const { email } = await signedUp(server);
    const eve = await thief(email);
    await eve.updateUser({ password: NEXT });
    const m = await mail.mailTo(email, { about: PASSWORD_CHANGED });
    assert.match(m.text, /Firefox on Windows/);
    assert.match(m.text, /127\.0\.0\.1/);
    assert.match(m.text, /UTC/);
    assert.ok(m.link.startsWith(`${server.url}/undo?`), m.link);
    assert.equal(m.code, undefined);
  });

  test('of a new address goes to the old one', async () => {
    const { theirs, notice } = await moved();
    assert.ok(notice.text.includes(theirs), notice.text);
    assert.equal(await mail.countTo(theirs, server.url, { about: EMAIL_CHANGED }), 0);
  });

  test('is not sent of what an operator does, nor where the operator wants none', async () => {
    const { email, user } = await signedUp(server);
    assert.equal((await adminWith(server, sign({ role: 'service_role' })).updateUserById(user.id, { password: NEXT })).error, null);
    assert.equal(await mail.countTo(email, server.url), 0);

    const quiet = await startServer(mail, { GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED: 'false', GOTRUE_MAILER_AUTOCONFIRM: 'true' });
    try {
      const { auth, email: another } = await signedUp(quiet);
      assert.equal((await auth.updateUser({ password: NEXT })).error, null);
      await sleep(500);
      await assert.rejects(mail.mailTo(another, { within: 0 }));
    } finally {
      await quiet.stop();
    }
  });

  test('is written in the user’s language', async () => {
    const { auth, email } = await signedUp(server);
    await auth.updateUser({ data: { locale: 'de-AT' } });
    await auth.updateUser({ password: NEXT });
    assert.match((await mail.mailTo(email)).subject, /Passwort/);
  });

  test('tells of a sign-in on a new device, where the operator wants it', async () => {
    const watchful = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true', GATEHOUSE_MAILER_NOTIFICATIONS_NEW_DEVICE_ENABLED: 'true' });
    try {
      const { email } = await signedUp(watchful);
      assert.equal((await newClient(watchful).signInWithPassword({ email, password: PASSWORD })).error, null, 'the same browser');
      const other = newClient(watchful, { headers: { 'User-Agent': FIREFOX } });
      assert.equal((await other.signInWithPassword({ email, password: PASSWORD })).error, null);
      const m = await mail.mailTo(email);
      assert.match(m.subject, /New sign-in/);
      assert.match(m.text, /Firefox on Windows/);
      assert.equal((await submit(await openLink(m.link))).status, 200);
      assert.ok(isAuthSessionMissingError((await other.getUser()).error));
    } finally {
      await watchful.stop();
    }
  });
});

describe('«This was not me»', { concurrency: true }, () => {
  test('takes back a new password', async () => {
    const { auth, email, user } = await signedUp(server);
    const eve = await thief(email);
    await eve.updateUser({ password: NEXT });
    const notice = await mail.mailTo(email, { about: PASSWORD_CHANGED });
    await undo(notice);
    await safe({ email, user, clients: [auth, eve], passwords: [PASSWORD, NEXT], after: notice });
  });

  test('takes back a new address', async () => {
    const { auth, email, user, eve, theirs, notice } = await moved();
    await undo(notice);
    refused(await newClient(server).signInWithPassword({ email: theirs, password: PASSWORD }), 'invalid_credentials', 400);
    await safe({ email, user, clients: [auth, eve], passwords: [PASSWORD], after: notice });
    // The thief's mailbox gets nothing of it any more.
    await newClient(server).resetPasswordForEmail(theirs);
    assert.equal(await mail.countTo(theirs, server.url, { about: RECOVERY }), 0);
  });

  test('takes back a new number', async () => {
    const { auth, email, user } = await signedUp(server);
    const eve = await thief(email);
    const phone = somebodysNumber();
    await eve.updateUser({ phone });
    assert.equal((await eve.verifyOtp({ phone, token: (await texts.smsTo(phone)).code, type: 'phone_change' })).error, null);
    const notice = await mail.mailTo(email, { about: PHONE_CHANGED });
    await undo(notice);
    refused(await newClient(server).signInWithPassword({ phone, password: PASSWORD }), 'invalid_credentials', 400);
    await safe({ email, user, clients: [auth, eve], passwords: [PASSWORD], after: notice });
    const { data } = await adminWith(server, sign({ role: 'service_role' })).getUserById(user.id);
    assert.equal(data.user.phone, '');
    assert.deepEqual(data.user.identities.map((i) => i.provider), ['email']);
  });

  test('mails a link that works without a client of Netlify’s', async () => {
    const plain = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true' });
    try {
      const { auth, email } = await signedUp(plain);
      await auth.updateUser({ password: NEXT });
      const notice = await mail.mailTo(email);
      await undo(notice);
      const { link } = await mail.mailTo(email, { after: notice });
      assert.ok(link.startsWith(`${plain.url}/verify?`), link);
    } finally {
      await plain.stop();
    }
  });

  test('is said by a person, not by a scanner or another site', async () => {
    const { auth, email } = await signedUp(server);
    await auth.updateUser({ password: NEXT });
    const { link } = await mail.mailTo(email, { about: PASSWORD_CHANGED });
    assert.equal((await ask('HEAD', link)).status, 200);
    for (let n = 0; n < 3; n++) assert.equal((await openLink(link)).status, 200);
    const page = await openLink(link);
    const foreign = await ask('POST', page.form.action, {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: 'https://evil.test', 'Sec-Fetch-Site': 'cross-site' },
      body: page.form.fields.toString(),
    });
    assert.ok(foreign.status >= 400 && foreign.status < 500, String(foreign.status));
    assert.equal((await auth.getUser()).error, null, 'nothing has happened');
    assert.equal((await newClient(server).signInWithPassword({ email, password: NEXT })).error, null);
  });

  test('can be said once', async () => {
    const { notice } = await moved();
    const page = await openLink(notice.link);
    await undo(notice);
    const again = await submit(page);
    assert.ok(again.status >= 400 && again.status < 500, String(again.status));
    const dead = await openLink(notice.link);
    assert.ok(dead.status >= 400 && dead.status < 500, String(dead.status));
    assert.match(dead.headers['content-type'], /^text\/html/);
    assert.doesNotMatch(text(dead), /safe again/);
  });
});
