// netlify-identity-widget, as published, in a browser: its own buttons and
// forms, on a site that is not the server's.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startChromium, startSite } from './chromium.mjs';
import { OPERATOR, PASSWORD, SECRET, askJSON, decode, someone, startMail, startServer } from './harness.mjs';

const NEXT = 'a new password';

let mail;
let site;
let server;
let chromium;

before(async () => {
  mail = await startMail();
  site = await startSite('widget.html');
  chromium = await startChromium();
  server = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_SITE_URL: site.url });
  site.tell({ api: server.url });
});

after(async () => {
  await chromium?.stop();
  await server?.stop();
  await Promise.all([site?.stop(), mail?.stop()]);
});

// widget is the dialog of a page.
function widget(page) {
  const frame = page.frameLocator('#netlify-identity-widget');
  const dialog = {
    see: (text) => frame.getByText(text).waitFor(),
    press: (name) => frame.getByRole('button', { name, exact: true }).click(),
    // submit fills in what it is given and presses the form's own button.
    async submit(button, values = {}) {
      for (const [name, value] of Object.entries(values)) await frame.locator(`input[name=${name}]`).fill(value);
      await frame.locator('form').getByRole('button', { name: button, exact: true }).click();
    },
    user: () => page.evaluate(() => {
      const user = netlifyIdentity.currentUser();
      return user && { id: user.id, email: user.email, name: user.user_metadata.full_name, token: user.token };
    }),
    cookie: async () => (await page.context().cookies(page.url())).find((c) => c.name === 'nf_jwt')?.value,
    // in waits until the widget and the page say who is signed in.
    async in(name, email) {
      await dialog.see(name);
      await frame.getByRole('button', { name: 'Log out' }).waitFor();
      await page.locator('.netlify-identity-user').getByText(email).waitFor();
      const user = await dialog.user();
      assert.equal(user.email, email);
      assert.equal(await dialog.cookie(), user.token.access_token);
      return user;
    },
    // out logs out with the form and waits until the page offers a login.
    async out() {
      await dialog.submit('Log out');
      await page.locator('.netlify-identity-login').waitFor();
      assert.equal(await dialog.user(), null);
      assert.equal(await dialog.cookie(), undefined);
    },
  };
  return dialog;
}

// member is somebody who has signed up and confirmed the address, without a
// browser.
async function member() {
  const email = someone();
  const api = `${server.url}/.netlify/identity`;
  const { status, text } = await askJSON('POST', `${api}/signup`, { email, password: PASSWORD, data: { full_name: 'Ann' } });
  assert.equal(status, 200, text);
  const last = await mail.mailTo(email);
  const yes = await askJSON('POST', `${api}/verify`, { type: 'signup', token: last.token });
  assert.equal(yes.status, 200, yes.text);
  return { email, last };
}

describe('the widget', () => {
  // Mission: R08, R12, V03, V07, T11, S01
  test('signs up, is confirmed by the mailed link, logs out and in', async (t) => {
    const ann = await chromium.person(t);
    const email = someone();
    const page = await ann.visit(site.url);
    await page.getByRole('button', { name: 'Sign up' }).click();
    const dialog = widget(page);
    await dialog.submit('Sign up', { name: 'Ann', email, password: PASSWORD });
    await dialog.see('A confirmation message was sent to your email');
    assert.equal(await dialog.user(), null);

    const m = await mail.mailTo(email);
    assert.ok(m.link.startsWith(`${site.url}/#confirmation_token=`), m.link);
    const landed = await ann.read(m);
    const there = widget(landed);
    const user = await there.in('Ann', email);
    assert.equal(user.name, 'Ann');
    assert.equal(decode(user.token.access_token).claims.sub, user.id);
    assert.equal(new URL(landed.url()).hash, '');
    assert.ok((await landed.evaluate(() => events)).includes('login'));

    // Another visit finds the session and asks the server whether it lives.
    const asked = landed.waitForResponse((r) => r.url() === `${server.url}/.netlify/identity/user` && r.request().method() === 'GET');
    await landed.reload();
    assert.equal((await asked).status(), 200);
    await landed.getByRole('button', { name: 'Log out' }).click();
    await there.in('Ann', email);
    await there.out();

    await there.submit('Log in', { email, password: PASSWORD });
    assert.equal((await there.in('Ann', email)).id, user.id);
  });

  // Mission: V06, S18
  test('says what is wrong', async (t) => {
    const ann = await chromium.person(t);
    ann.expects(/status of 400 .*\/token\)$/);
    const { email } = await member();
    const page = await ann.visit(site.url);
    await page.getByRole('button', { name: 'Log in' }).click();
    const dialog = widget(page);
    await dialog.submit('Log in', { email, password: 'wrong password' });
    await dialog.see('No user found with that email, or password invalid.');
    const waiting = someone();
    await askJSON('POST', `${server.url}/.netlify/identity/signup`, { email: waiting, password: PASSWORD });
    await dialog.submit('Log in', { email: waiting, password: PASSWORD });
    await dialog.see('Email not confirmed');
    await dialog.submit('Log in', { email, password: PASSWORD });
    await dialog.in('Ann', email);
  });

  // Mission: P04
  test('recovers by the mailed link and takes a new password', async (t) => {
    const ann = await chromium.person(t);
    ann.expects(/status of 400 .*\/token\)$/);
    const { email, last } = await member();
    const page = await ann.visit(site.url);
    await page.getByRole('button', { name: 'Log in' }).click();
    const dialog = widget(page);
    await dialog.press('Forgot password?');
    await dialog.submit('Send recovery email', { email });
    await dialog.see('We\'ve sent a recovery email to your account');

    const m = await mail.mailTo(email, { after: last });
    assert.ok(m.link.startsWith(`${site.url}/#recovery_token=`), m.link);
    const landed = await ann.read(m);
    const there = widget(landed);
    await there.submit('Update password', { password: NEXT });
    await there.in('Ann', email);
    await there.out();

    await there.submit('Log in', { email, password: PASSWORD });
    await there.see('No user found with that email, or password invalid.');
    await there.submit('Log in', { email, password: NEXT });
    await there.in('Ann', email);
  });

  // Mission: R19
  test('takes the password of who was invited', async (t) => {
    const ann = await chromium.person(t);
    const email = someone();
    const res = await askJSON('POST', `${server.url}/.netlify/identity/invite`, { email }, { Authorization: `Bearer ${OPERATOR}` });
    assert.equal(res.status, 200, res.text);
    const there = widget(await ann.read(await mail.mailTo(email)));
    await there.submit('Sign up', { password: PASSWORD });
    await there.in(email, email);
  });

  // Mission: V02
  test('says that a link is used up', async (t) => {
    const ann = await chromium.person(t);
    ann.expects(/status of 404 .*\/verify\)$/);
    ann.expects(/User not found/); // the widget's own line
    const { last } = await member();
    await widget(await ann.read(last)).see('There was an error verifying your account');
  });

  // Mission: T20
  test('refreshes its token', async (t) => {
    const ann = await chromium.person(t);
    const { email } = await member();
    const page = await ann.visit(site.url);
    await page.getByRole('button', { name: 'Log in' }).click();
    const dialog = widget(page);
    await dialog.submit('Log in', { email, password: PASSWORD });
    const { token } = await dialog.in('Ann', email);
    await page.evaluate(() => netlifyIdentity.refresh(true));
    const next = (await dialog.user()).token;
    assert.notEqual(next.refresh_token, token.refresh_token);
    const { email: still } = await page.evaluate(() => netlifyIdentity.currentUser().getUserData());
    assert.equal(still, email);
  });
});
