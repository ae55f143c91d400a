// @supabase/auth-js, as published, against a server that wants a captcha: work
// its own script does in this process and in a browser, and tokens that somebody
// else judges.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startChromium, startSite } from './chromium.mjs';
import { OPERATOR, PASSWORD, SECRET, follow, sign, someone, somebodysNumber, startMail, startServer, startSMS } from './harness.mjs';
import { newClient, refused, tokensOf } from './supabase.mjs';

let mail;
let sms;
let work; // asks for a proof of work
let shop; // asks a provider
let provider;
let solve; // as the server hands it out

const on = { GOTRUE_JWT_SECRET: SECRET, GOTRUE_SECURITY_CAPTCHA_ENABLED: 'true', GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED: 'true' };

before(async () => {
  mail = await startMail();
  sms = await startSMS();
  provider = await startProvider();
  work = await startServer(mail, { ...on, ...sms.settings, GOTRUE_SECURITY_CAPTCHA_PROVIDER: 'pow', GATEHOUSE_CAPTCHA_WORK_BITS: '10' });
  shop = await startServer(mail, { ...on, ...provider.settings });
  const script = await fetch(`${work.url}/captcha/pow.js`);
  assert.equal(script.status, 200);
  assert.match(script.headers.get('content-type'), /^text\/javascript/);
  ({ solve } = await import(`data:text/javascript,${encodeURIComponent(await script.text())}`));
});

after(async () => {
  await Promise.all([work?.stop(), shop?.stop()]);
  await Promise.all([provider?.stop(), sms?.stop(), mail?.stop()]);
});

// startProvider judges tokens as hCaptcha does: those that begin with good are,
// once.
async function startProvider() {
  const asked = [];
  const used = new Set();
  let away = false;
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const part of req) body += part;
    if (away) return res.writeHead(502).end();
    const form = new URLSearchParams(body);
    const token = form.get('response');
    asked.push(Object.fromEntries(form));
    const codes = [];
    if (form.get('secret') !== 'shop-secret') codes.push('invalid-input-secret');
    else if (!token.startsWith('good')) codes.push('invalid-input-response');
    else if (used.has(token)) codes.push('already-seen-response');
    used.add(token);
    const verdict = codes.length ? { success: false, 'error-codes': codes } : { success: true, hostname: 'shop.example' };
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(verdict));
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  return {
    settings: {
      GOTRUE_SECURITY_CAPTCHA_SECRET: 'shop-secret',
      GATEHOUSE_CAPTCHA_URL: `http://127.0.0.1:${server.address().port}/siteverify`,
      GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true',
    },
    asked,
    goAway: (yes) => void (away = yes),
    stop: () => new Promise((r) => server.close(r).closeAllConnections()),
  };
}

// calls are all of the client that need a captcha, each given the options of one.
function calls(server, email, phone) {
  const client = () => newClient(server);
  return {
    signUp: (options) => client().signUp({ email, password: PASSWORD, options }),
    'signUp by phone': (options) => phone && client().signUp({ phone, password: PASSWORD, options }),
    signInAnonymously: (options) => client().signInAnonymously({ options }),
    signInWithPassword: (options) => client().signInWithPassword({ email, password: PASSWORD, options }),
    signInWithOtp: (options) => client().signInWithOtp({ email: someone(), options }),
    resetPasswordForEmail: (options) => client().resetPasswordForEmail(email, options),
    resend: (options) => client().resend({ type: 'signup', email, options }),
  };
}

describe('a server that asks for work', () => {
  test('takes each proof once, of every call that needs one', async () => {
    const email = someone();
    for (const [name, call] of Object.entries(calls(work, email, somebodysNumber()))) {
      refused(await call({}), 'captcha_failed', 400);
      refused(await call({ captchaToken: 'pow' }), 'captcha_failed', 400);
      const captchaToken = await solve(work.url);
      const { error } = await call({ captchaToken });
      if (name === 'signInWithPassword') assert.equal(error?.code, 'email_not_confirmed');
      else if (name === 'resend') assert.equal(error?.code, 'over_email_send_rate_limit'); // just after the sign-up
      else assert.equal(error, null, name);
      assert.match(refused(await call({ captchaToken }), 'captcha_failed', 400).message, /used already/, name);
    }
  });

  test('lets in by the mailed link, refreshes and signs out without', async () => {
    const email = someone();
    const auth = newClient(work);
    assert.equal((await auth.signUp({ email, password: PASSWORD, options: { captchaToken: await solve(`${work.url}/auth/v1/`) } })).error, null);
    assert.equal((await auth.setSession(tokensOf(await follow((await mail.mailTo(email)).link)))).error, null);
    assert.equal((await auth.refreshSession()).error, null);
    assert.equal((await auth.signOut()).error, null);
    const { data, error } = await auth.signInWithPassword({ email, password: PASSWORD, options: { captchaToken: await solve(work.url) } });
    assert.equal(error, null);
    assert.equal(data.user.email, email);
  });

  test('asks no server of the operator', async () => {
    for (const key of [OPERATOR, sign({ role: 'service_role' })]) {
      const auth = newClient(work, { headers: { Authorization: `Bearer ${key}` } });
      assert.equal((await auth.resetPasswordForEmail(someone())).error, null);
    }
    const auth = newClient(work, { headers: { Authorization: `Bearer ${sign({ role: 'anon' })}` } });
    refused(await auth.resetPasswordForEmail(someone()), 'captcha_failed', 400);
  });

  // The work is done in a worker of the page, whose script comes from another origin.
  test('is satisfied by a browser', async (t) => {
    const site = await startSite('supabase.html');
    const chromium = await startChromium();
    t.after(() => Promise.all([chromium.stop(), site.stop()]));
    site.tell({ api: work.url });
    const ann = await chromium.person(t);
    const page = await ann.visit(`${site.url}/implicit`);
    const email = someone();
    const said = await page.evaluate(
      async ([api, email, password]) => {
        const { solve } = await import(`${api}/captcha/pow.js`);
        const { error } = await auth.signUp({ email, password, options: { captchaToken: await solve(api) } });
        return error?.code ?? 'in';
      },
      [work.url, email, PASSWORD],
    );
    assert.equal(said, 'in');
    await mail.mailTo(email);
  });
});

describe('a server that asks a provider', () => {
  test('takes what the provider takes, and nothing while it is away', async () => {
    const email = someone();
    for (const [name, call] of Object.entries(calls(shop, email))) {
      if (name.endsWith('phone')) continue;
      const before = provider.asked.length;
      refused(await call({}), 'captcha_failed', 400);
      assert.equal(provider.asked.length, before, 'it is not asked about nothing');
      assert.match(refused(await call({ captchaToken: 'bad' }), 'captcha_failed', 400).message, /invalid-input-response/);
      const captchaToken = `good ${name}`.replace(/ /g, '-');
      assert.notEqual((await call({ captchaToken })).error?.code, 'captcha_failed', name);
      assert.deepEqual(provider.asked.at(-1).response, captchaToken);
      refused(await call({ captchaToken }), 'captcha_failed', 400);
    }
    provider.goAway(true);
    refused(await newClient(shop).signUp({ email: someone(), password: PASSWORD, options: { captchaToken: 'good-too' } }), 'captcha_failed', 400);
    provider.goAway(false);
    assert.equal((await newClient(shop).signUp({ email: someone(), password: PASSWORD, options: { captchaToken: 'good-too' } })).error, null);
    assert.ok(!shop.log().includes('shop-secret') && !shop.log().includes('good-too'), 'no token and no secret is logged');
    const res = await fetch(`${shop.url}/captcha`);
    assert.deepEqual([res.status, (await res.json()).error_code], [404, 'feature_disabled']);
  });
});
