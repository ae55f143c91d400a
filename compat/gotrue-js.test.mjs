// gotrue-js, as published in its newest version and in the last one before it
// was rewritten. Version 0.9 says nowhere who it is, so its server is told
// whose manners to keep; version 1.0 says so itself and runs both ways. Each
// way is a test file of its own, for a browser has one user at a time: this one
// runs the newest version on a server as it comes.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { asBrowser, hushHTTP, letGo, watchFetch } from './browser.mjs';
import { OPERATOR, PASSWORD, SITE, ask, askJSON, decode, sleep, someone, startMail, startServer } from './harness.mjs';

hushHTTP();
letGo();
const { localStorage } = asBrowser(SITE); // version 0.9 decodes with window.atob
const seen = watchFetch();
export const { default: GoTrue1 } = await import('gotrue-js');
const zero = await import('gotrue-js-0');
export const GoTrue0 = zero.default.default ?? zero.default;

const WRONG = 'invalid_grant: No user found with that email, or password invalid.';

const pause = () => sleep(2100); // SMTP_MAX_FREQUENCY is two seconds

if (process.argv[1] === fileURLToPath(import.meta.url)) describe('gotrue-js 1.0.1', () => suite(GoTrue1, {}));

// suite are the tests, to be called in a describe: of a version, on servers with
// these settings.
export function suite(GoTrue, settings) {
  let mail;
  let strict; // addresses must be confirmed
  let open; // they need not, and only the new address agrees to a change
  let short; // tokens live ten seconds: every call has to refresh first

  before(async () => {
    mail = await startMail();
    strict = await startServer(mail, settings);
    const autoconfirm = { ...settings, GOTRUE_MAILER_AUTOCONFIRM: 'true' };
    open = await startServer(mail, { ...autoconfirm, GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED: 'false' });
    short = await startServer(mail, { ...autoconfirm, GOTRUE_JWT_EXP: '10', GOTRUE_JWT_SECRET: 'x'.repeat(32) });
  });
  after(async () => {
    await Promise.all([strict?.stop(), open?.stop(), short?.stop()]);
    await mail?.stop();
  });

  const client = (server, options) => new GoTrue({ APIUrl: server.url, ...options });
  const status = (want) => (err) => {
    assert.equal(err.status, want, err.message);
    return true;
  };

  async function signedIn(server, options) {
    const auth = client(server, options);
    const email = someone();
    await auth.signup(email, PASSWORD);
    return { auth, email, user: await auth.login(email, PASSWORD, true) };
  }

  // What a site's own server sends: it holds the operator's token.
  const operator = { Authorization: `Bearer ${OPERATOR}`, ...(settings.GATEHOUSE_DIALECT ? {} : { 'X-Nf-Client': 'netlify' }) };

  describe('the settings', () => {
    // Mission: U18
    test('say what the sign-up form must know', async () => {
      for (const [server, autoconfirm] of [[strict, false], [open, true]]) {
        const s = await client(server).settings();
        assert.equal(s.autoconfirm, autoconfirm);
        assert.equal(s.disable_signup, false);
        assert.equal(s.external.email, true);
        for (const p of ['bitbucket', 'facebook', 'github', 'gitlab', 'google', 'saml']) assert.equal(s.external[p], false, p);
      }
    });
  });

  describe('sign-up', () => {
    // Mission: R06, R08, R12, V03, V06, V07, M01
    test('sends a link to the site, whose token confirms and signs in', async () => {
      const auth = client(strict);
      const email = someone();
      const made = await auth.signup(email, PASSWORD, { full_name: 'Ann', age: 7, beta: true });
      assert.equal(made.email, email);
      assert.ok(made.id);
      assert.ok(Date.parse(made.confirmation_sent_at));
      assert.equal(made.confirmed_at, undefined);
      assert.equal(made.access_token, undefined);
      await assert.rejects(auth.login(email, PASSWORD), { message: 'invalid_grant: Email not confirmed', status: 400 });

      const m = await mail.mailTo(email);
      assert.ok(m.link.startsWith(`${SITE}/#confirmation_token=`), m.link);
      await assert.rejects(auth.confirm(m.token.slice(0, -1)), status(404));
      const user = await auth.confirm(m.token, true);
      assert.equal(user.id, made.id);
      assert.ok(Date.parse(user.confirmed_at));
      assert.equal(user.user_metadata.full_name, 'Ann');
      assert.equal(user.user_metadata.age, 7);
      assert.equal(user.app_metadata.provider, 'email');
      assert.equal(user.tokenDetails().token_type, 'bearer');
      assert.equal(user.tokenDetails().expires_in, 3600);
      await assert.rejects(auth.confirm(m.token), status(404));
      assert.equal((await auth.login(email, PASSWORD)).id, made.id);
    });

    // Mission: R07, V13
    test('makes a user who can log in at once where no confirmation is needed', async () => {
      const auth = client(open);
      const email = someone();
      const made = await auth.signup(email, PASSWORD, { full_name: 'Ann' });
      assert.ok(Date.parse(made.confirmed_at));
      assert.equal(made.email, email);
      assert.equal(made.user_metadata.full_name, 'Ann');
      assert.equal((await auth.login(email, PASSWORD)).id, made.id);
    });

    // Mission: R06, R13
    test('of an address that is taken makes no second user', async () => {
      const { email, user } = await signedIn(open);
      await assert.rejects(client(open).signup(email, 'another password'), (err) => /already/i.test(err.message) && err.status < 500);
      assert.equal((await client(open).login(email, PASSWORD)).id, user.id);
    });

    // Mission: R06, R13
    test('of an address that is taken tells strangers what the operator lets it', async () => {
      const email = someone();
      await client(strict).signup(email, PASSWORD);
      const first = await mail.mailTo(email);
      const user = await client(strict).confirm(first.token);
      await pause();
      const again = client(strict).signup(email, 'another password');
      if (settings.GATEHOUSE_DIALECT) {
        await assert.rejects(again, { status: 400, message: 'A user with this email address has already been registered' });
      } else { // as if it were new; the owner is told
        const made = await again;
        assert.notEqual(made.id, user.id);
        assert.ok(Date.parse(made.confirmation_sent_at));
        assert.equal((await mail.mailTo(email, { after: first })).token, undefined);
      }
      await assert.rejects(client(strict).login(email, 'another password'), { message: WRONG });
      assert.equal((await client(strict).login(email, PASSWORD)).id, user.id);
    });

    // Mission: R23
    test('refuses what is no address, and a short password', async () => {
      await assert.rejects(client(open).signup('not_email', PASSWORD), status(422));
      await assert.rejects(client(open).signup('', PASSWORD), status(422));
      await assert.rejects(client(open).signup(someone(), ''), status(422));
      await assert.rejects(client(open).signup(someone(), 'short'), { status: 422, message: 'Password should be at least 6 characters.' });
    });

    // Mission: R18
    test('can be closed', async () => {
      const closed = await startServer(mail, { ...settings, GOTRUE_DISABLE_SIGNUP: 'true' });
      try {
        assert.equal((await client(closed).settings()).disable_signup, true);
        await assert.rejects(client(closed).signup(someone(), PASSWORD), { status: 403, message: 'Signups not allowed for this instance' });
        const email = someone();
        assert.equal((await askJSON('POST', `${closed.url}/invite`, { email }, operator)).status, 200, 'an invitation still works');
        const user = await client(closed).acceptInvite((await mail.mailTo(email)).token, PASSWORD);
        assert.equal(user.email, email);
      } finally {
        await closed.stop();
      }
    });
  });

  describe('login', () => {
    // Mission: S01, S20, T24
    test('takes the right password', async () => {
      const { user, email } = await signedIn(open);
      assert.equal(user.email, email);
      assert.equal(user.aud, 'authenticated');
      for (const k of ['created_at', 'updated_at', 'confirmed_at', 'last_sign_in_at']) assert.ok(Date.parse(user[k]), k);
      const token = user.tokenDetails();
      assert.equal(token.token_type, 'bearer');
      assert.equal(token.expires_in, 3600);
      assert.match(token.refresh_token, /^[A-Za-z0-9._~-]+$/, 'the client sends it without encoding');
      const { claims } = decode(token.access_token);
      assert.equal(typeof claims.aud, 'string');
      assert.equal(claims.sub, user.id);
      assert.equal(claims.email, email);
      const asked = seen.findLast((s) => s.path === '/user');
      assert.equal(asked.headers.authorization, `Bearer ${token.access_token}`);
    });

    // Mission: S18, V06
    test('says one thing of a wrong password and an unknown address', async () => {
      const { email } = await signedIn(open);
      const auth = client(open);
      await assert.rejects(auth.login(email, 'wrong password'), { message: WRONG, status: 400 });
      await assert.rejects(auth.login(someone(), PASSWORD), { message: WRONG, status: 400 });
      await assert.rejects(auth.login('', ''), status(400));

      const waiting = someone();
      await client(strict).signup(waiting, PASSWORD);
      await assert.rejects(client(strict).login(waiting, 'wrong password'), { message: WRONG });
      await assert.rejects(client(strict).login(waiting, PASSWORD), { message: 'invalid_grant: Email not confirmed' });
    });

    test('is remembered in the browser’s storage, and found there', async () => {
      const { auth, user, email } = await signedIn(open);
      assert.equal(JSON.parse(localStorage.getItem('gotrue.user')).email, email);
      assert.equal(auth.currentUser().id, user.id);
      await user.logout();
      assert.equal(localStorage.getItem('gotrue.user'), null);
      assert.equal(auth.currentUser(), null);
    });

    test('is looked up again, and let go of when the server has ended it', async () => {
      const { auth, user, email } = await signedIn(open);
      assert.equal((await user.getUserData()).email, email);
      if (auth.validateCurrentSession) assert.equal((await auth.validateCurrentSession()).id, user.id); // since version 1.0
      await (await client(open).login(email, PASSWORD)).logout(); // another browser, which ends all
      await assert.rejects(user.getUserData(), status(401));
      if (auth.validateCurrentSession) assert.equal(await auth.validateCurrentSession(), null);
      user.clearSession();
      assert.equal(user.tokenDetails(), null);
      assert.equal(localStorage.getItem('gotrue.user'), null);
    });

    const external = {
      'by another provider': (auth) => auth.loginExternalUrl('github'),
      'of who was invited': (auth) => auth.acceptInviteExternalUrl('github', 'token'),
    };
    for (const [who, way] of Object.entries(external)) {
      test(`${who} begins at the server, which says that there is none`, async () => {
        const url = way(client(open));
        assert.ok(url.startsWith(`${open.url}/authorize?provider=github`), url);
        const res = await ask('GET', url);
        assert.equal(res.status, 400);
        assert.match(res.json.msg, /provider is not enabled/);
      });
    }

    test('sets the cookie a site’s host reads, when asked', async () => {
      const email = someone();
      const auth = client(open, { setCookie: true });
      await client(open).signup(email, PASSWORD);
      const cookie = () => seen.findLast((s) => s.path === '/token').cookies.find((c) => c.startsWith('nf_jwt='));

      let user = await auth.login(email, PASSWORD, true);
      assert.equal(seen.findLast((s) => s.path === '/token').headers['x-use-cookie'], '1');
      assert.equal(cookie().split(';')[0], `nf_jwt=${user.tokenDetails().access_token}`);
      for (const part of [/;\s*Path=\//i, /;\s*HttpOnly/i, /;\s*Secure/i, /;\s*Max-Age=86400/i]) assert.match(cookie(), part);

      user = await auth.login(email, PASSWORD, false);
      assert.equal(seen.findLast((s) => s.path === '/token').headers['x-use-cookie'], 'session');
      assert.doesNotMatch(cookie(), /Max-Age|Expires/i);

      await user.logout();
      const cleared = seen.findLast((s) => s.path === '/logout').cookies.find((c) => c.startsWith('nf_jwt='));
      assert.match(cleared, /^nf_jwt=;.*(Max-Age=0|Expires=Thu, 01 Jan 1970)/i);

      await client(open).login(email, PASSWORD);
      assert.equal(cookie(), undefined, 'nobody asked');
    });

    test('for an audience is for that audience', async () => {
      const { email } = await signedIn(open);
      assert.equal((await client(open, { audience: 'authenticated' }).login(email, PASSWORD)).email, email);
      await assert.rejects(client(open, { audience: 'another' }).login(email, PASSWORD), status(400));
    });
  });

  describe('tokens', () => {
    // Mission: T20
    test('are refreshed when they are old, and only then', async () => {
      const { user } = await signedIn(open);
      const first = user.tokenDetails();
      assert.equal(await user.jwt(), first.access_token);
      user.tokenDetails().expires_at = Date.now();
      const [a, b] = await Promise.all([user.jwt(), user.jwt()]);
      assert.equal(a, b);
      assert.notEqual(user.tokenDetails().refresh_token, first.refresh_token);
      await user.jwt(true);
      assert.equal((await user.update({ data: { x: 1 } })).user_metadata.x, 1);
    });

    // Mission: T04, C11
    test('that live for ten seconds are refreshed before every call', async () => {
      const { user } = await signedIn(short);
      const refreshes = () => seen.filter((s) => s.path === '/token' && s.status === 200).length;
      for (let n = 0; n < 4; n++) {
        const was = refreshes();
        assert.equal((await user.update({ data: { n } })).user_metadata.n, n);
        assert.equal(refreshes(), was + 1);
      }
    });

    // Mission: T04
    test('are refused when they have expired', async () => {
      const brief = await startServer(mail, { ...settings, GOTRUE_MAILER_AUTOCONFIRM: 'true', GOTRUE_JWT_EXP: '5' });
      try {
        const { user } = await signedIn(brief);
        const jwt = user.tokenDetails().access_token;
        const { exp } = decode(jwt).claims;
        const get = () => ask('GET', `${brief.url}/user`, { headers: { Authorization: `Bearer ${jwt}`, 'X-Nf-Client': 'gotrue-js' } });
        let res = await get();
        for (let n = 0; n < 40 && res.status === 200; n++) {
          await sleep(250);
          res = await get();
        }
        assert.equal(res.status, 401);
        assert.ok(Date.now() / 1000 < exp + 5, 'and not only much later');
      } finally {
        await brief.stop();
      }
    });

    // Mission: T20
    test('of refresh sign out when they come back late', async () => {
      const { user } = await signedIn(open);
      const old = user.tokenDetails().refresh_token;
      for (let n = 0; n < 3; n++) await user.jwt(true);
      const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
      const res = await ask('POST', `${open.url}/token`, { headers: form, body: `grant_type=refresh_token&refresh_token=${old}` });
      assert.equal(res.status, 400);
      assert.deepEqual(res.json, { error: 'invalid_grant', error_description: 'Invalid Refresh Token' });
      await assert.rejects(user.jwt(true), status(400));
      assert.equal(user.tokenDetails(), null, 'the client has let go of its session');
    });

    // Mission: S20
    test('are asked for with a grant the server knows', async () => {
      const form = (body) => ask('POST', `${open.url}/token`, { headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body });
      assert.equal((await form('grant_type=unheard_of')).json.error, 'unsupported_grant_type');
      const missing = await form('grant_type=refresh_token');
      assert.equal(missing.status, 400);
      assert.equal(missing.json.error, 'invalid_request');
      assert.equal(missing.headers['content-type'].includes('json'), true);
    });

    // Mission: T11
    test('die with the logout', async () => {
      const { auth, user, email } = await signedIn(open);
      const { access_token, refresh_token } = user.tokenDetails();
      const other = await client(open).login(email, PASSWORD);
      const theirs = other.tokenDetails();
      await user.logout();
      assert.equal(seen.findLast((s) => s.path === '/logout').status, 204);
      for (const t of [refresh_token, theirs.refresh_token]) {
        const res = await ask('POST', `${open.url}/token`, {
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          body: `grant_type=refresh_token&refresh_token=${t}`,
        });
        assert.deepEqual(res.json, { error: 'invalid_grant', error_description: 'Invalid Refresh Token' });
      }
      await assert.rejects(auth.createUser({ access_token, refresh_token, token_type: 'bearer', expires_in: 3600 }), status(401));
    });
  });

  describe('the account', () => {
    // Mission: U01, U03, U04, U11
    test('takes and drops data key by key', async () => {
      const { auth, user, email } = await signedIn(open);
      await user.update({ data: { name: 'Ann', level: 1, beta: true } });
      await user.update({ data: { name: null, level: 2 } });
      assert.equal('name' in user.user_metadata, false);
      assert.equal(user.user_metadata.level, 2);
      assert.equal(user.user_metadata.beta, true);
      assert.deepEqual((await auth.login(email, PASSWORD)).user_metadata, user.user_metadata);
      await assert.rejects(user.update({ app_metadata: { roles: ['admin'] } }), status(401));
    });

    // Mission: P02
    test('takes a new password', async () => {
      const { auth, user, email } = await signedIn(open);
      await user.update({ password: 'a new password' });
      await assert.rejects(auth.login(email, PASSWORD), { message: WRONG });
      assert.equal((await auth.login(email, 'a new password')).id, user.id);
    });

    // Mission: P04, P07, P08, P09
    test('is found again by mail', async () => {
      const { auth, email } = await signedIn(open);
      await auth.requestPasswordRecovery(email);
      const first = await mail.mailTo(email);
      assert.ok(first.link.startsWith(`${SITE}/#recovery_token=`), first.link);
      await assert.rejects(auth.requestPasswordRecovery(email), status(429));
      await pause();
      await auth.requestPasswordRecovery(email);
      const second = await mail.mailTo(email, { after: first });
      await assert.rejects(auth.recover(first.token), status(404));
      const user = await auth.recover(second.token);
      assert.equal(user.email, email);
      await user.update({ password: 'a new password' });
      await assert.rejects(auth.recover(second.token), status(404));
      await assert.rejects(auth.login(email, PASSWORD), { message: WRONG });
      assert.equal((await auth.login(email, 'a new password')).email, email);

      await auth.requestPasswordRecovery(someone()); // nobody has it; nobody is told
    });

    // Mission: U06
    test('moves to a new address with the token mailed there', async () => {
      const { auth, user, email } = await signedIn(open);
      const next = someone('new');
      await user.update({ email: next });
      assert.equal(user.email, email);
      assert.equal(user.new_email, next);
      const m = await mail.mailTo(next);
      assert.ok(m.link.startsWith(`${SITE}/#email_change_token=`), m.link);
      const other = await signedIn(open);
      await assert.rejects(other.user.update({ email_change_token: 'wrong' }), status(401));
      await user.update({ email_change_token: m.token });
      assert.equal(user.email, next);
      assert.equal((await auth.login(next, PASSWORD)).id, user.id);
      await assert.rejects(auth.login(email, PASSWORD), { message: WRONG });
      await pause();
      if (settings.GATEHOUSE_DIALECT) {
        await assert.rejects(user.update({ email: other.email }), { status: 422, message: /already been registered/ });
      } else { // nothing is said, and nothing comes of it
        assert.equal((await user.update({ email: other.email })).email, next);
        assert.equal((await mail.mailTo(other.email)).token, undefined);
      }
    });

    // Mission: U06
    test('moves only when both addresses agree, where that is asked', async () => {
      const auth = client(strict);
      const email = someone();
      await auth.signup(email, PASSWORD);
      const m = await mail.mailTo(email);
      const user = await auth.confirm(m.token);
      const next = someone('new');
      await user.update({ email: next });
      const [atOld, atNew] = [await mail.mailTo(email, { after: m }), await mail.mailTo(next)];
      await user.update({ email_change_token: atNew.token });
      assert.equal(user.email, email);
      await user.update({ email_change_token: atOld.token });
      assert.equal(user.email, next);
    });

    // Mission: R19, V03
    test('begins with an invitation', async () => {
      const email = someone();
      const res = await askJSON('POST', `${strict.url}/invite`, { email, data: { team: 'red' } }, operator);
      assert.equal(res.status, 200, res.text);
      assert.ok(Date.parse(res.json.invited_at));
      const m = await mail.mailTo(email);
      assert.ok(m.link.startsWith(`${SITE}/#invite_token=`), m.link);
      const auth = client(strict);
      await assert.rejects(auth.confirm(m.token), { status: 422, message: 'Invited users must specify a password' });
      await assert.rejects(auth.acceptInvite(m.token, 'short'), status(422));
      const user = await auth.acceptInvite(m.token, PASSWORD);
      assert.equal(user.id, res.json.id);
      assert.equal(user.user_metadata.team, 'red');
      await assert.rejects(auth.acceptInvite(m.token, 'another password'), status(404));
      assert.equal((await auth.login(email, PASSWORD)).id, user.id);
    });
  });

  describe('an administrator', () => {
    async function chief() {
      const email = someone('chief');
      const res = await askJSON('POST', `${strict.url}/admin/users`, { email, password: PASSWORD, confirm: true, role: 'admin' }, operator);
      assert.equal(res.status, 200, res.text);
      assert.equal(res.json.role, 'admin');
      return client(strict).login(email, PASSWORD);
    }

    // Mission: U10, U11, U13, U15
    test('lists, makes, reads, changes and deletes users', async () => {
      const { admin } = await chief();
      const email = someone();
      const made = await admin.createUser(email, PASSWORD, {
        confirm: true,
        user_metadata: { full_name: 'Ann' },
        app_metadata: { roles: ['editor'] },
      });
      assert.equal(made.email, email);
      assert.deepEqual(made.app_metadata.roles, ['editor']);
      const user = await client(strict).login(email, PASSWORD);
      assert.equal(user.id, made.id);
      assert.deepEqual(decode(user.tokenDetails().access_token).claims.app_metadata.roles, ['editor']);

      const listed = await admin.listUsers('');
      const { users } = listed.items ?? listed; // version 0.9 wraps what comes with a Link header
      assert.ok(users.some((u) => u.id === made.id));
      assert.equal((await admin.getUser(made)).user_metadata.full_name, 'Ann');

      const next = someone('new');
      const changed = await admin.updateUser(made, { email: next, role: 'editor', user_metadata: { full_name: 'Bo' } });
      assert.equal(changed.email, next);
      assert.equal(changed.role, 'editor');
      assert.equal(changed.user_metadata.full_name, 'Bo');

      await admin.deleteUser(made);
      await assert.rejects(admin.getUser(made), { status: 404, message: 'User not found' });
      await assert.rejects(client(strict).login(next, PASSWORD), { message: WRONG });
    });

    // Mission: U15, T24
    test('is who has the role, nobody else', async () => {
      const { user } = await signedIn(open);
      await assert.rejects(user.admin.listUsers(''), status(401));
      await assert.rejects(user.admin.getUser(user), status(401));
      await assert.rejects(user.admin.createUser(someone(), PASSWORD), status(401));
      await assert.rejects(user.admin.updateUser(user, { role: 'admin' }), status(401));
      await assert.rejects(user.admin.deleteUser(user), status(401));
      assert.equal((await ask('GET', `${open.url}/admin/users`, { headers: operator })).status, 200);
      const wrong = { ...operator, Authorization: `Bearer ${OPERATOR.slice(0, -1)}x` };
      assert.equal((await ask('GET', `${open.url}/admin/users`, { headers: wrong })).status, 401);
    });
  });

  test('a browser of the site may send the headers the client uses', async () => {
    const pre = await ask('OPTIONS', `${open.url}/token`, {
      headers: {
        Origin: SITE,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type,x-jwt-aud,x-nf-client,x-use-cookie',
      },
    });
    assert.ok(pre.status < 300, String(pre.status));
    const allowed = pre.headers['access-control-allow-headers'].toLowerCase();
    for (const h of ['authorization', 'content-type', 'x-jwt-aud', 'x-nf-client', 'x-use-cookie']) assert.ok(allowed.includes(h), `${h} in ${allowed}`);
    assert.equal(pre.headers['access-control-allow-origin'], SITE);
    assert.equal(pre.headers['access-control-allow-credentials'], 'true', 'for the cookie');
  });
}
