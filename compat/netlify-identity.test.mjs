// @netlify/identity, as published, on a site's server and in its browser. What
// Netlify's runtime and a browser would give it, this file gives it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { after, before, describe, test } from 'node:test';
import { asBrowser, hushHTTP, letGo, watchFetch } from './browser.mjs';
import { OPERATOR, PASSWORD, SECRET, SITE, askJSON, decode, follow, sign, someone, startMail, startServer } from './harness.mjs';

hushHTTP();
letGo();
const seen = watchFetch();
const source = pathToFileURL(createRequire(import.meta.url).resolve('@netlify/identity')).href.replace(/\.cjs$/, '.js');

// fresh loads the package anew: it remembers the address of the first server
// it meets.
let loads = 0;
const fresh = () => import(`${source}?${++loads}`);

let mail;
before(async () => {
  mail = await startMail();
});
after(() => mail?.stop());

// The package sends no header that says who it is from a server, so links are
// Netlify's only where the server is told; all else is the same.
for (const settings of [{}, { GATEHOUSE_DIALECT: 'netlify' }]) {
  describe(`on a site's server, ${JSON.stringify(settings)}`, () => onServer(settings));
}

function onServer(settings) {
  let strict; // addresses must be confirmed
  let open; // they need not
  let identity; // the package as a function of the open site has it
  let waiting; // and of the strict one

  before(async () => {
    strict = await startServer(mail, { ...settings, GOTRUE_JWT_SECRET: SECRET });
    open = await startServer(mail, { ...settings, GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true' });
    identity = await fresh();
    waiting = await fresh();
  });
  after(async () => {
    delete globalThis.Netlify;
    delete globalThis.netlifyIdentityContext;
    await Promise.all([strict?.stop(), open?.stop()]);
  });

  // visit is one request to a function of the site: its cookies, its context.
  function visit(server, { cookies = {}, token } = {}) {
    const jar = new Map(Object.entries(cookies));
    globalThis.netlifyIdentityContext = { url: server.url, ...(token && { token }) };
    globalThis.Netlify = {
      context: {
        url: SITE,
        cookies: { get: (n) => jar.get(n), set: ({ name, value }) => void jar.set(name, value), delete: (n) => void jar.delete(n) },
      },
    };
    return jar;
  }

  // Mission: R07, R12, V13
  test('signup signs in where no confirmation is needed', async () => {
    const jar = visit(open);
    const email = someone();
    const user = await identity.signup(email, PASSWORD, { full_name: 'Ann' });
    assert.equal(user.email, email);
    assert.equal(user.name, 'Ann');
    assert.equal(user.provider, 'email');
    assert.ok(Date.parse(user.confirmedAt));
    assert.equal(decode(jar.get('nf_jwt')).claims.sub, user.id);
    assert.ok(jar.get('nf_refresh'));
    assert.equal((await identity.getUser()).id, user.id);
    assert.equal(await identity.isAuthenticated(), true);
  });

  // Mission: R08, V06, V07
  test('signup waits for the mail where confirmation is needed', async () => {
    const jar = visit(strict);
    const email = someone();
    const user = await waiting.signup(email, PASSWORD);
    assert.equal(user.confirmedAt, undefined);
    assert.ok(Date.parse(user.confirmationSentAt));
    assert.equal(jar.size, 0);
    assert.equal(await waiting.getUser(), null);
    await assert.rejects(waiting.login(email, PASSWORD), { name: 'AuthError', message: 'Email not confirmed', status: 400 });
    const m = await mail.mailTo(email);
    if (settings.GATEHOUSE_DIALECT) assert.ok(m.link.startsWith(`${SITE}/#confirmation_token=`), m.link);
    const confirmed = await waiting.confirmEmail(m.token);
    assert.equal(confirmed.id, user.id);
    assert.ok(Date.parse(confirmed.confirmedAt));
    assert.equal((await waiting.login(email, PASSWORD)).id, user.id);
    await assert.rejects(waiting.signup('not_email', PASSWORD), (err) => err.name === 'AuthError' && [400, 422].includes(err.status));
  });

  // Mission: S01, S18, S20
  test('login sets the cookies, and says one thing of all that is wrong', async () => {
    visit(open);
    const email = someone();
    const made = await identity.signup(email, PASSWORD);
    const jar = visit(open);
    const user = await identity.login(email, PASSWORD);
    assert.equal(user.id, made.id);
    assert.ok(Date.parse(user.lastSignInAt));
    assert.equal(decode(jar.get('nf_jwt')).claims.email, email);
    assert.ok(jar.get('nf_refresh'));
    const wrong = { name: 'AuthError', message: 'No user found with that email, or password invalid.', status: 400 };
    await assert.rejects(identity.login(email, 'wrong password'), wrong);
    await assert.rejects(identity.login(someone(), PASSWORD), wrong);
  });

  // Mission: T24
  test('getUser asks the server who the cookie is', async () => {
    const jar = visit(open);
    const email = someone();
    await identity.signup(email, PASSWORD, { full_name: 'Ann' });
    const cookies = Object.fromEntries(jar);
    visit(open, { cookies });
    const user = await identity.getUser();
    assert.equal(user.email, email);
    assert.equal(user.name, 'Ann');
    assert.equal(seen.findLast((s) => s.path === '/user').headers.authorization, `Bearer ${cookies.nf_jwt}`);
    visit(open, { token: cookies.nf_jwt });
    assert.equal((await identity.getUser()).email, email);
    visit(open, { cookies: { nf_jwt: `${cookies.nf_jwt.slice(0, -2)}xx` } });
    assert.equal(await identity.getUser(), null);
    visit(open);
    assert.equal(await identity.getUser(), null);
  });

  // Mission: T11
  test('logout ends the session and drops the cookies', async () => {
    const jar = visit(open);
    await identity.signup(someone(), PASSWORD);
    const cookies = Object.fromEntries(jar);
    await identity.logout();
    assert.equal(seen.findLast((s) => s.path === '/logout').status, 204);
    assert.equal(jar.size, 0);
    visit(open, { cookies });
    assert.equal(await identity.getUser(), null, 'a copy of the cookie is worth nothing');
  });

  // Mission: T20
  test('refreshSession trades what is about to expire, and lets go of what is dead', async () => {
    let jar = visit(open);
    await identity.signup(someone(), PASSWORD);
    assert.equal(await identity.refreshSession(), null, 'nothing to do yet');
    const refresh = jar.get('nf_refresh');
    const soon = sign({ ...decode(jar.get('nf_jwt')).claims, exp: Math.floor(Date.now() / 1000) + 5 });
    jar = visit(open, { cookies: { nf_jwt: soon, nf_refresh: refresh } });
    const jwt = await identity.refreshSession();
    assert.equal(jar.get('nf_jwt'), jwt);
    assert.notEqual(jar.get('nf_refresh'), refresh);
    assert.ok(await identity.getUser());

    await identity.logout();
    for (const nf_refresh of [refresh, 'rubbish']) {
      jar = visit(open, { cookies: { nf_jwt: soon, nf_refresh } });
      assert.equal(await identity.refreshSession(), null);
      assert.equal(jar.size, 0, 'signed out, not failed');
    }
  });

  // Mission: U18
  test('getSettings says what the forms must know', async () => {
    visit(open);
    assert.deepEqual(await identity.getSettings(), {
      autoconfirm: true,
      disableSignup: false,
      providers: { google: false, github: false, gitlab: false, bitbucket: false, facebook: false, email: true },
    });
    visit(strict);
    assert.equal((await waiting.getSettings()).autoconfirm, false);
    assert.equal(waiting.getIdentityConfig().url, strict.url);
  });

  // Mission: P04, R19
  test('the mailed tokens of recovery and invitation work from a server too', async () => {
    visit(strict);
    const email = someone();
    await waiting.signup(email, PASSWORD);
    const first = await mail.mailTo(email);
    await waiting.confirmEmail(first.token);
    await waiting.requestPasswordRecovery(email);
    const m = await mail.mailTo(email, { after: first });
    const user = await waiting.recoverPassword(m.token, 'a new password');
    assert.equal(user.email, email);
    visit(strict);
    assert.equal((await waiting.login(email, 'a new password')).id, user.id);

    const guest = someone();
    const res = await askJSON('POST', `${strict.url}/invite`, { email: guest }, { Authorization: `Bearer ${OPERATOR}` });
    assert.equal(res.status, 200, res.text);
    const invited = await waiting.acceptInvite((await mail.mailTo(guest)).token, PASSWORD);
    assert.equal(invited.email, guest);
    assert.ok(Date.parse(invited.invitedAt));
  });

  describe('with the operator’s token', () => {
    // Mission: U10, U11, U13
    test('admin makes, lists, reads, changes and deletes users', async () => {
      visit(strict, { token: OPERATOR });
      const { admin } = waiting;
      const email = someone();
      const made = await admin.createUser({
        email,
        password: PASSWORD,
        data: { role: 'editor', app_metadata: { roles: ['editor', 'author'] }, user_metadata: { full_name: 'Ann' } },
      });
      assert.equal(made.email, email);
      assert.equal(made.role, 'editor');
      assert.deepEqual(made.roles, ['editor', 'author']);
      assert.equal(made.name, 'Ann');
      assert.ok(Date.parse(made.confirmedAt), 'it asked for that');

      assert.ok((await admin.listUsers()).some((u) => u.id === made.id));
      for (let n = 0; n < 2; n++) await admin.createUser({ email: someone(), password: PASSWORD });
      const [one, two] = [await admin.listUsers({ page: 1, perPage: 1 }), await admin.listUsers({ page: 2, perPage: 1 })];
      assert.equal(one.length, 1);
      assert.equal(two.length, 1);
      assert.notEqual(one[0].id, two[0].id);

      assert.equal((await admin.getUser(made.id)).email, email);
      const next = someone('new');
      const changed = await admin.updateUser(made.id, {
        email: next,
        password: 'a new password',
        role: 'chief',
        confirm: true,
        app_metadata: { roles: ['chief'] },
        user_metadata: { full_name: 'Bo' },
      });
      assert.equal(changed.email, next);
      assert.equal(changed.role, 'chief');
      assert.deepEqual(changed.roles, ['chief']);
      assert.equal(changed.name, 'Bo');
      const jar = visit(strict);
      assert.equal((await waiting.login(next, 'a new password')).id, made.id);
      assert.deepEqual(decode(jar.get('nf_jwt')).claims.app_metadata.roles, ['chief']);

      visit(strict, { token: OPERATOR });
      await assert.rejects(admin.createUser({ email: next, password: PASSWORD }), { name: 'AuthError', status: 422 });
      await admin.deleteUser(made.id);
      await assert.rejects(admin.getUser(made.id), { name: 'AuthError', status: 404, message: 'User not found' });
      await assert.rejects(admin.getUser('me'), { message: 'User ID is not a valid UUID' });
    });

    // Mission: U15
    test('admin refuses any other token', async () => {
      const jar = visit(open);
      await identity.signup(someone(), PASSWORD);
      for (const token of [jar.get('nf_jwt'), `${OPERATOR.slice(0, -1)}x`]) {
        visit(open, { token });
        await assert.rejects(identity.admin.listUsers(), (err) => err.name === 'AuthError' && [401, 403].includes(err.status) && err.message.length > 5);
      }
    });
  });
}

describe('in a browser of the site', () => {
  // The server has /.netlify/identity itself, as if it were the site's host.
  let strict;
  let open;

  before(async () => {
    strict = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET });
    open = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET, GOTRUE_MAILER_AUTOCONFIRM: 'true', GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED: 'false' });
  });
  after(async () => {
    await Promise.all([strict?.stop(), open?.stop()]);
  });

  // tab opens the site in a browser that has never been there.
  async function tab(t, server) {
    const browser = asBrowser(server.url);
    const identity = await fresh();
    t.after(async () => {
      await identity.logout();
      browser.leave();
    });
    return { ...browser, identity, land: (link) => (browser.location.hash = new URL(link).hash) };
  }

  // Mission: R08, V03, V07
  test('a confirmation link lands on the page, which signs in', async (t) => {
    const { identity, jar, land, location } = await tab(t, strict);
    const email = someone();
    const events = [];
    identity.onAuthChange((event) => void events.push(event));
    const made = await identity.signup(email, PASSWORD, { full_name: 'Ann' });
    assert.equal(made.confirmedAt, undefined);
    const m = await mail.mailTo(email);
    assert.ok(m.link.startsWith(`${SITE}/#confirmation_token=`), m.link);
    land(m.link);
    const { type, user } = await identity.handleAuthCallback();
    assert.equal(type, 'confirmation');
    assert.equal(user.id, made.id);
    assert.equal(location.hash, '');
    assert.equal(decode(decodeURIComponent(jar.get('nf_jwt'))).claims.sub, user.id);
    assert.deepEqual(events, ['login']);
    assert.equal((await identity.getUser()).name, 'Ann');
  });

  // Mission: S01, U03, P02, T20
  test('login, changes, refresh and logout', async (t) => {
    const { identity, jar } = await tab(t, open);
    const email = someone();
    await identity.signup(email, PASSWORD);
    const user = await identity.login(email, PASSWORD);
    assert.equal(user.email, email);
    assert.equal((await identity.updateUser({ data: { full_name: 'Bo' } })).name, 'Bo');
    await identity.updateUser({ password: 'a new password' });
    await assert.rejects(identity.login(email, PASSWORD), { message: 'invalid_grant: No user found with that email, or password invalid.' });
    await identity.login(email, 'a new password');
    assert.equal(await identity.refreshSession(), null, 'nothing to do yet');
    await identity.logout();
    assert.equal(jar.size, 0);
    assert.equal(await identity.getUser(), null);
    assert.equal(seen.findLast((s) => s.path === '/.netlify/identity/logout').status, 204);
  });

  test('a login by another provider begins at the server', async (t) => {
    const { identity, location } = await tab(t, open);
    assert.throws(() => identity.oauthLogin('github'), { name: 'AuthError', message: /Redirecting/ });
    assert.equal(location.href, `${open.url}/.netlify/identity/authorize?provider=github`);
    assert.equal((await fetch(location.href)).status, 400, 'which says that there is none');
  });

  test('a session set by the site’s server is taken up', async (t) => {
    const { identity } = await tab(t, open);
    const email = someone();
    const { json } = await askJSON('POST', `${open.url}/signup`, { email, password: PASSWORD });
    assert.equal(await identity.hydrateSession(), null);
    document.cookie = `nf_jwt=${json.access_token}; path=/`;
    document.cookie = `nf_refresh=${json.refresh_token}; path=/`;
    assert.equal((await identity.hydrateSession()).email, email);
    assert.equal((await identity.getUser()).email, email);
  });

  // Mission: P04
  test('a recovery link lands on the page, which asks for a new password', async (t) => {
    const { identity, land } = await tab(t, open);
    const email = someone();
    await identity.signup(email, PASSWORD);
    await identity.requestPasswordRecovery(email);
    const m = await mail.mailTo(email);
    assert.ok(m.link.startsWith(`${SITE}/#recovery_token=`), m.link);
    land(m.link);
    const { type, user } = await identity.handleAuthCallback();
    assert.equal(type, 'recovery');
    assert.equal(user.email, email);
    await identity.updateUser({ password: 'a new password' });
    assert.equal((await identity.login(email, 'a new password')).email, email);
    land(m.link);
    await assert.rejects(identity.handleAuthCallback(), { name: 'AuthError', message: 'User not found' });
  });

  // Mission: U06
  test('an e-mail change link lands on the page, which finishes the change', async (t) => {
    const { identity, land } = await tab(t, open);
    const email = someone();
    await identity.signup(email, PASSWORD);
    await identity.login(email, PASSWORD);
    const next = someone('new');
    const asked = await identity.updateUser({ email: next });
    assert.equal(asked.pendingEmail, next);
    assert.equal(asked.email, email);
    land((await mail.mailTo(next)).link);
    const { type, user } = await identity.handleAuthCallback();
    assert.equal(type, 'email_change');
    assert.equal(user.email, next);
    await assert.rejects(identity.verifyEmailChange('wrong'), (err) => err.name === 'AuthError' && err.status === 401);
  });

  // Mission: R19
  test('an invitation lands on the page, which asks for a password', async (t) => {
    const { identity, land } = await tab(t, strict);
    const email = someone();
    await askJSON('POST', `${strict.url}/invite`, { email }, { Authorization: `Bearer ${OPERATOR}`, 'X-Nf-Client': 'netlify' });
    land((await mail.mailTo(email)).link);
    const { type, token } = await identity.handleAuthCallback();
    assert.equal(type, 'invite');
    assert.equal((await identity.acceptInvite(token, PASSWORD)).email, email);
  });

  // Mission: V01
  test('tokens in the address, as a link through the server leaves them, sign in', async (t) => {
    const email = someone();
    await askJSON('POST', `${strict.url}/signup`, { email, password: PASSWORD });
    const to = await follow((await mail.mailTo(email)).link);
    const { identity, land, jar } = await tab(t, strict);
    land(to.href);
    const { type, user } = await identity.handleAuthCallback();
    assert.equal(type, 'oauth');
    assert.equal(user.email, email);
    assert.ok(jar.get('nf_refresh'));
  });
});
