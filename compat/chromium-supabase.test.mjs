// @supabase/supabase-js, as published, in a browser: a site that is not the
// server's, the mailed link, and the server's own page in between.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { shot, startChromium, startSite } from './chromium.mjs';
import { PASSWORD, SECRET, decode, someone, startMail, startServer } from './harness.mjs';

const NEXT = 'a new password';

let mail;
let site;
let server;
let chromium;

before(async () => {
  mail = await startMail();
  site = await startSite('supabase.html');
  chromium = await startChromium();
  server = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_SITE_URL: site.url });
  site.tell({ api: server.url });
});

after(async () => {
  await chromium?.stop();
  await server?.stop();
  await Promise.all([site?.stop(), mail?.stop()]);
});

// app is the site's page in a tab.
function app(page) {
  return {
    page,
    // press fills in what it is given, presses a button and waits for the
    // answer, which it returns.
    async press(button, { email, password } = {}) {
      if (email) await page.getByLabel('E-mail').fill(email);
      if (password) await page.getByLabel('Password', { exact: true }).fill(password);
      await page.evaluate(() => (answer.textContent = '')); // the last answer is not this one's
      await page.getByRole('button', { name: button, exact: true }).click();
      return page.locator('#answer:not(:empty)').innerText();
    },
    in: (email) => page.getByText(`Signed in as ${email}`, { exact: true }).waitFor(),
    out: () => page.getByText('Signed out', { exact: true }).waitFor(),
    // saw waits until the client has told of an event.
    saw: (event) => page.waitForFunction((e) => events.includes(e), event),
    session: () => page.evaluate(async () => (await auth.getSession()).data.session),
    user: () => page.evaluate(async () => (await auth.getUser()).data.user),
  };
}

// answer presses the button of the server's page, which a mailed link opened,
// and returns the site's page that comes after.
async function answer(page, button) {
  assert.equal(new URL(page.url()).origin, server.url);
  await page.getByRole('button', { name: button, exact: true }).click();
  await page.waitForURL((url) => url.origin === site.url);
  return app(page);
}

for (const flow of ['implicit', 'pkce']) {
  describe(`supabase-js, ${flow} flow,`, () => {
    const url = () => `${site.url}/${flow}`;

    // member signs somebody up on the site, who confirms in another tab; both
    // are signed in.
    async function member(ann) {
      const email = someone();
      const first = app(await ann.visit(url()));
      await first.out();
      assert.equal(await first.press('Sign up', { email, password: PASSWORD }), 'signUp: ok');
      const m = await mail.mailTo(email);
      const second = await answer(await ann.read(m), 'Confirm');
      await second.in(email);
      await first.in(email);
      return { email, m, first, second };
    }

    // Mission: R08, V01, V07, M06, S21, T11, S01
    test('signs up, is signed in by the mailed link in every tab, and signs out of all', async (t) => {
      const ann = await chromium.person(t);
      const { email, m, first, second } = await member(ann);
      assert.ok(m.link.startsWith(`${server.url}/verify?`), m.link);
      const asked = new URL(m.link).searchParams;
      assert.equal(asked.get('redirect_to'), url());
      assert.equal(asked.get('token').startsWith('pkce_'), flow === 'pkce');

      // Nothing secret is left in the address.
      await second.page.waitForURL((to) => to.search + to.hash === '' && to.href.replace('#', '') === url());
      const { access_token } = await second.session();
      assert.equal(decode(access_token).claims.email, email);
      assert.equal((await first.session()).access_token, access_token);
      assert.ok(Date.parse((await first.user()).email_confirmed_at));
      await second.page.reload();
      await second.in(email);

      assert.equal(await first.press('Sign out'), 'signOut: ok');
      await Promise.all([first.out(), second.out(), second.saw('SIGNED_OUT')]);
      assert.equal(await second.user(), null);
      assert.equal(await second.press('Sign in', { email, password: PASSWORD }), 'signIn: ok');
      await Promise.all([first.in(email), second.in(email)]);
    });

    // Mission: P04, P08, S21
    test('recovers by the mailed link and takes a new password', async (t) => {
      const ann = await chromium.person(t);
      ann.expects(/status of 400 .*\/token\?grant_type=password\)$/);
      const { email, m, first } = await member(ann);
      await first.press('Sign out');
      await first.out();
      assert.equal(await first.press('Forgot password', { email }), 'forgot: ok');

      const there = await answer(await ann.read(await mail.mailTo(email, { after: m })), 'Continue');
      await there.saw('PASSWORD_RECOVERY');
      await there.in(email);
      assert.equal(await there.press('Save password', { password: NEXT }), 'save: ok');
      assert.equal(await there.press('Sign out'), 'signOut: ok');
      await there.out();
      assert.equal(await there.press('Sign in', { email, password: PASSWORD }), 'signIn: invalid_credentials');
      assert.equal(await there.press('Sign in', { email, password: NEXT }), 'signIn: ok');
      await there.in(email);
    });

    // Mission: V02
    test('is told that a link is used up', async (t) => {
      const ann = await chromium.person(t);
      const { m, first } = await member(ann);
      await first.press('Sign out');
      await first.out();
      const { page, out } = app(await ann.read(m));
      await page.waitForURL((to) => to.origin === site.url);
      await page.getByText('link: otp_expired').waitFor();
      await out();
    });
  });
}

describe('a session of supabase-js', () => {
  // Two tabs ask at one instant with the same refresh token. The client lets go
  // of an answer that another tab has already put into their common storage.
  const lettingGo = /^refresh: (ok|Refresh result discarded: .*)$/;

  // Mission: T20
  test('is refreshed by two tabs at once, by hand and by themselves', async (t) => {
    const ann = await chromium.person(t);
    await ann.context.clock.install();
    const email = someone();
    const first = app(await ann.visit(`${site.url}/implicit`));
    assert.equal(await first.press('Sign up', { email, password: PASSWORD }), 'signUp: ok');
    const second = await answer(await ann.read(await mail.mailTo(email)), 'Confirm');
    const tabs = [first, second];
    await Promise.all(tabs.map((tab) => tab.in(email)));

    const { refresh_token } = await first.session();
    const answers = await Promise.all(tabs.map((tab) => tab.press('Refresh')));
    for (const text of answers) assert.match(text, lettingGo);
    assert.ok(answers.includes('refresh: ok'), answers.join());
    const next = await first.session();
    assert.notEqual(next.refresh_token, refresh_token);
    assert.equal((await second.session()).refresh_token, next.refresh_token);

    // Less than two minutes before the token of an hour ends, the clients act.
    await ann.context.clock.fastForward('58:05');
    for (const tab of tabs) {
      await tab.page.waitForFunction(async (old) => (await auth.getSession()).data.session.refresh_token !== old, next.refresh_token);
      assert.equal((await tab.user()).email, email);
      assert.ok(!(await tab.page.evaluate(() => events)).includes('SIGNED_OUT'));
    }
  });
});

describe('the page behind a mailed link', () => {
  test('fits a desk and a hand, by day and by night', async (t) => {
    const ann = await chromium.person(t);
    const email = `${'a-rather-long-name'.repeat(2)}-${someone()}`;
    const first = app(await ann.visit(`${site.url}/pkce`));
    assert.equal(await first.press('Sign up', { email, password: PASSWORD }), 'signUp: ok');
    const page = await ann.read(await mail.mailTo(email));
    const grounds = new Set();
    for (const width of [1280, 360]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize({ width, height: 720 });
        await page.emulateMedia({ colorScheme });
        await shot(page, `verify ${width} ${colorScheme}`);
        const { wide, ground } = await page.evaluate(() => ({
          wide: document.documentElement.scrollWidth,
          ground: getComputedStyle(document.body).backgroundColor,
        }));
        assert.ok(wide <= width, `${wide} of ${width}`);
        grounds.add(ground);
      }
    }
    assert.equal(grounds.size, 2);
    await (await answer(page, 'Confirm')).in(email);
  });
});
