// gotrue-js, as published: signing in with accounts that are kept elsewhere, and
// @netlify/identity, which is built on it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { asBrowser, hushHTTP, letGo } from './browser.mjs';
import { newVisitor, startIdP } from './elsewhere.mjs';
import { OPERATOR, PASSWORD, SITE, ask, askJSON, decode, someone, startMail, startServer } from './harness.mjs';

hushHTTP();
letGo();
asBrowser(SITE); // version 0.9 decodes with window.atob
const { default: GoTrue1 } = await import('gotrue-js');
const zero = await import('gotrue-js-0');
const GoTrue0 = zero.default.default ?? zero.default;

let mail;
let idp;
let plain; // as it comes
let told; // whose clients are Netlify's

before(async () => {
  mail = await startMail();
  idp = await startIdP();
  const settings = await idp.settings('google', 'github', 'gitlab', 'bitbucket');
  plain = await startServer(mail, settings);
  told = await startServer(mail, { ...settings, GATEHOUSE_DIALECT: 'netlify' });
  await idp.registers(plain, told);
});

after(async () => {
  await Promise.all([plain?.stop(), told?.stop()]);
  await Promise.all([idp?.stop(), mail?.stop()]);
});

// raw reads the fragment as Netlify's widget does: pairs, and nothing decoded.
const raw = (to) => Object.fromEntries(new URL(to.href).hash.slice(1).split('&').map((pair) => pair.split('=')));

// The path of a site's identity is how a server knows a browser of Netlify's
// clients, which says nothing of itself.
const runs = {
  'gotrue-js 0.9.29, GATEHOUSE_DIALECT=netlify': () => [GoTrue0, told, told.url],
  'gotrue-js 1.0.1, GATEHOUSE_DIALECT=netlify': () => [GoTrue1, told, told.url],
  'gotrue-js 1.0.1, at a site’s own path': () => [GoTrue1, plain, `${plain.url}/.netlify/identity`],
};

for (const [name, run] of Object.entries(runs)) {
  describe(name, () => {
    const client = () => new (run()[0])({ APIUrl: run()[2] });
    const operator = { Authorization: `Bearer ${OPERATOR}`, 'X-Nf-Client': 'netlify' };

    // invited is somebody with an invitation in the mailbox.
    async function invited() {
      const email = someone();
      const { status, text } = await askJSON('POST', `${run()[2]}/invite`, { email }, operator);
      assert.equal(status, 200, text);
      return { email, m: await mail.mailTo(email) };
    }

    test('is told who lets people in', async () => {
      const { external } = await client().settings();
      for (const p of ['google', 'github', 'gitlab', 'bitbucket']) assert.equal(external[p], true, p);
      for (const p of ['facebook', 'saml']) assert.equal(external[p], false, p);
    });

    for (const provider of ['google', 'github', 'gitlab', 'bitbucket']) {
      // Mission: R24, S07, S08, C10
      test(`signs in with ${provider}, the first time and again`, async () => {
        const person = await idp.person();
        const auth = client();
        const url = auth.loginExternalUrl(provider);
        assert.ok(url.startsWith(`${run()[2]}/authorize?provider=${provider}`), url);
        const to = await newVisitor(person).go(url);
        assert.equal(to.base, `${SITE}/`, to.href ?? to.text);
        const pairs = raw(to);
        assert.deepEqual(Object.keys(pairs).sort(), ['access_token', 'expires_in', 'refresh_token', 'token_type']);
        for (const [key, value] of Object.entries(pairs)) assert.equal(decodeURIComponent(value), value, `${key} is as it is`);
        const user = await auth.createUser(pairs, true);
        assert.equal(user.email, person.email);
        assert.equal(user.app_metadata.provider, provider);
        assert.equal(user.user_metadata.full_name, 'Ann Lee');
        assert.ok(Date.parse(user.confirmed_at));
        assert.equal(user.tokenDetails().token_type, 'bearer');
        await user.jwt(true);
        assert.equal((await user.getUserData()).id, user.id);
        const again = await auth.createUser(raw(await newVisitor(person).go(url)), true);
        assert.equal(again.id, user.id);
        await again.logout();
      });
    }

    test('is told in the fragment who has refused', async () => {
      const to = await newVisitor(await idp.person()).go(client().loginExternalUrl('google'), { answer: 'deny' });
      assert.equal(to.base, `${SITE}/`);
      assert.equal(to.query.size, 0);
      assert.equal(to.fragment.get('error'), 'access_denied');
      assert.equal(to.fragment.get('access_token'), null);
    });

    test('lets in from no other browser than the one that set out', async () => {
      const person = await idp.person();
      const ann = newVisitor(person);
      const back = await ann.go(client().loginExternalUrl('google'), { until: /\/callback\?/ });
      const stray = await newVisitor(person).go(back.href);
      assert.equal(stray.base, `${SITE}/`);
      assert.equal(stray.fragment.get('access_token'), null);
      assert.ok((await ann.go(back.href)).fragment.get('access_token'));
    });

    test('goes nowhere with who is not enabled', async () => {
      const { status, json } = await ask('GET', client().loginExternalUrl('facebook'));
      assert.equal(status, 400);
      assert.match(json.msg, /provider is not enabled/);
    });

    // Mission: R19
    test('takes an invitation with an account of the same address', async () => {
      const { email, m } = await invited();
      const auth = client();
      const url = auth.acceptInviteExternalUrl('github', m.token);
      const wrong = await newVisitor(await idp.person()).go(url);
      assert.equal(wrong.base, `${SITE}/`);
      assert.equal(wrong.fragment.get('access_token'), null);
      assert.ok(wrong.fragment.get('error'), wrong.href);
      await assert.rejects(auth.login(email, PASSWORD));

      const to = await newVisitor(await idp.person({ email })).go(url);
      const user = await auth.createUser(raw(to), true);
      assert.equal(user.email, email);
      assert.ok(Date.parse(user.confirmed_at));
      assert.ok(Date.parse(user.invited_at));
      await user.logout();
      assert.equal((await newVisitor(await idp.person({ email })).go(url)).fragment?.get('access_token') ?? null, null, 'a second time');
    });

    test('takes no invitation that nobody sent', async () => {
      const to = await newVisitor(await idp.person()).go(client().acceptInviteExternalUrl('github', 'AbCdEfGhIjKlMnOpQrStUv'));
      assert.equal(to.status, 404, to.href);
    });
  });
}

describe('a server that was told nothing', () => {
  for (const [version, make] of Object.entries({ '0.9.29': () => GoTrue0, '1.0.1': () => GoTrue1 })) {
    test(`signs in with gotrue-js ${version} as well`, async () => {
      const person = await idp.person();
      const auth = new (make())({ APIUrl: plain.url });
      const user = await auth.createUser(raw(await newVisitor(person).go(auth.loginExternalUrl('github'))), true);
      assert.equal(user.email, person.email);
      await user.logout();
    });
  }
});

describe('@netlify/identity', () => {
  // Mission: R24, S07
  test('signs in with what comes back in the address', async (t) => {
    const { location, jar, leave } = asBrowser(plain.url);
    const { handleAuthCallback, oauthLogin, getUser, logout } = await import('@netlify/identity');
    t.after(async () => {
      await logout();
      leave();
    });
    const person = await idp.person();
    assert.throws(() => oauthLogin('google'), { name: 'AuthError', message: /Redirecting/ });
    const to = await newVisitor(person).go(location.href);
    assert.equal(to.base, `${SITE}/`, to.text);
    location.hash = new URL(to.href).hash;
    const { type, user } = await handleAuthCallback();
    assert.equal(type, 'oauth');
    assert.equal(user.email, person.email);
    assert.equal(user.provider, 'google');
    assert.equal(location.hash, '');
    assert.equal(decode(decodeURIComponent(jar.get('nf_jwt'))).claims.sub, user.id);
    assert.equal((await getUser()).name, 'Ann Lee');
  });
});
