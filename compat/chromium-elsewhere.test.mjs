// Signing in with accounts that are kept elsewhere, in a browser: a site, the
// server and the provider are three sites to it, which share no cookies. The
// clients are @supabase/supabase-js and netlify-identity-widget, as published.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { shot, startChromium, startSite } from './chromium.mjs';
import { startIdP } from './elsewhere.mjs';
import { OPERATOR, PASSWORD, ask, askJSON, decode, someone, startMail, startServer } from './harness.mjs';

let mail;
let idp;
let site;
let shop; // with Netlify's widget
let server;
let shops; // its server
let chromium;

before(async () => {
  mail = await startMail();
  idp = await startIdP('-saml');
  site = await startSite('supabase.html');
  shop = await startSite('widget.html');
  chromium = await startChromium();
  const settings = { ...(await idp.settings('google', 'github', 'apple')), GOTRUE_MAILER_AUTOCONFIRM: 'true' };
  server = await startServer(mail, {
    ...settings,
    GOTRUE_SITE_URL: `${site.url}/implicit`,
    GOTRUE_SECURITY_MANUAL_LINKING_ENABLED: 'true',
    GOTRUE_SAML_ENABLED: 'true',
    GOTRUE_SAML_PRIVATE_KEY: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'der' }).toString('base64'),
  });
  shops = await startServer(mail, { ...settings, GOTRUE_SITE_URL: shop.url });
  site.tell({ api: server.url });
  shop.tell({ api: shops.url });
  await idp.registers(server, shops);
});

after(async () => {
  await chromium?.stop();
  await Promise.all([server?.stop(), shops?.stop()]);
  await Promise.all([site?.stop(), shop?.stop(), idp?.stop(), mail?.stop()]);
});

// visitor is somebody with a browser and an account at the provider.
async function visitor(t) {
  const ann = await chromium.person(t);
  const who = await idp.person();
  await ann.context.addCookies([{ name: 'idptest_person', value: who.subject, url: idp.url }]);
  return { ...ann, who };
}

// app is the site's page in a tab.
function app(page) {
  return {
    page,
    click: (button) => page.getByRole('button', { name: button, exact: true }).click(),
    in: (email) => page.getByText(`Signed in as ${email}`, { exact: true }).waitFor(),
    out: () => page.getByText('Signed out', { exact: true }).waitFor(),
    says: (text) => page.getByText(text, { exact: true }).waitFor(),
    // clean waits until nothing secret is left in the address.
    clean: () => page.waitForURL((to) => to.origin === site.url && to.search + to.hash === ''),
    session: () => page.evaluate(async () => (await auth.getSession()).data.session),
    identities: () => page.evaluate(async () => (await auth.getUserIdentities()).data.identities.map((i) => i.provider).sort()),
  };
}

// leaves presses a button of the site, and waits for the provider's page.
async function leaves(tab, button, as) {
  await tab.click(button);
  await tab.page.waitForURL((to) => to.origin === idp.url);
  if (as) assert.equal(await tab.page.locator('#who').innerText(), as);
}

const allow = (tab) => tab.page.locator('#allow').click();

// member is a visitor who has signed up on the site.
async function member(t) {
  const ann = await visitor(t);
  const email = someone();
  const tab = app(await ann.visit(`${site.url}/implicit`));
  await tab.page.getByLabel('E-mail').fill(email);
  await tab.page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await tab.click('Sign up');
  await tab.in(email);
  return { ...ann, email, tab };
}

describe('supabase-js', () => {
  // Apple's page posts its answer, and the browser sends no cookies with that.
  for (const [flow, provider] of [['implicit', 'Google'], ['pkce', 'Google'], ['pkce', 'Apple']]) {
    // Mission: R24, S07, T08
    test(`signs in by the page of ${provider}, and again, in the ${flow} flow`, async (t) => {
      const ann = await visitor(t);
      const tab = app(await ann.visit(`${site.url}/${flow}`));
      await tab.out();
      await leaves(tab, `Sign in with ${provider}`, 'Ann Lee');
      await allow(tab);
      await tab.in(ann.who.email);
      await tab.clean();
      const { user, provider_token } = await tab.session();
      assert.equal(user.app_metadata.provider, provider.toLowerCase());
      assert.ok(provider_token);
      await tab.click('Sign out');
      await tab.out();
      await leaves(tab, `Sign in with ${provider}`);
      await allow(tab);
      await tab.in(ann.who.email);
      assert.equal((await tab.session()).user.id, user.id);
      assert.deepEqual((await ann.context.cookies(server.url)).filter((c) => c.name.startsWith('gh_flow_')), [], 'nothing is left of the way');
    });
  }

  test('says who has refused', async (t) => {
    const ann = await visitor(t);
    const tab = app(await ann.visit(`${site.url}/pkce`));
    await leaves(tab, 'Sign in with Google');
    await tab.page.locator('#deny').click();
    await tab.says('link: bad_oauth_callback');
    await tab.out();
  });

  // A company's page posts its answer, too.
  // Mission: S07
  test('signs in by the page of a company', async (t) => {
    const ann = await visitor(t);
    const domain = 'acme.example';
    const { text } = await ask('GET', `${server.url}/sso/saml/metadata`);
    const email = someone('jo').replace('example.org', domain);
    await idp.tellCompany({ trust: text, user: { name_id: email } });
    const operator = { Authorization: `Bearer ${OPERATOR}` };
    const made = await askJSON('POST', `${server.url}/admin/sso/providers`, { type: 'saml', metadata_url: idp.saml.entity_id, domains: [domain] }, operator);
    assert.equal(made.status, 201, made.text);
    const tab = app(await ann.visit(`${site.url}/pkce`));
    await tab.page.getByLabel('E-mail').fill(email);
    await tab.click('Sign in with my company');
    await tab.in(email);
    await tab.clean();
  });
});

describe('a code of PKCE', () => {
  test('is no good a second time', async (t) => {
    const ann = await visitor(t);
    ann.expects(/status of 404 .*\/token\?grant_type=pkce\)$/);
    const tab = app(await ann.visit(`${site.url}/pkce`));
    await leaves(tab, 'Sign in with Google');
    const other = app(await ann.visit(`${site.url}/pkce`)); // which has the same storage
    const kept = await other.page.evaluate(() => Object.entries(localStorage).find(([k]) => k.endsWith('-auth-token-code-verifier')));
    const back = tab.page.waitForRequest((r) => r.url().startsWith(`${site.url}/pkce?code=`));
    await allow(tab);
    await tab.in(ann.who.email);
    const code = new URL((await back).url()).searchParams.get('code');
    const said = await tab.page.evaluate(
      async ([code, [key, value]]) => {
        localStorage.setItem(key, value);
        const { data, error } = await auth.exchangeCodeForSession(code);
        return { session: data.session, error: error?.code };
      },
      [code, kept],
    );
    assert.deepEqual(said, { session: null, error: 'flow_state_not_found' });
  });
});

describe('the way back', () => {
  // stopped is somebody before the provider's answer reaches the server.
  async function stopped(t) {
    const ann = await visitor(t);
    const tab = app(await ann.visit(`${site.url}/implicit`));
    await leaves(tab, 'Sign in with Google');
    let back;
    await tab.page.route(`${idp.url}/**`, async (route) => {
      back = (await route.fetch({ maxRedirects: 0 })).headers().location;
      await route.fulfill({ status: 204 });
    });
    await Promise.all([tab.page.waitForResponse((r) => r.status() === 204), allow(tab)]);
    await tab.page.unroute(`${idp.url}/**`);
    assert.ok(back.startsWith(`${server.url}/callback?`), back);
    return { ann, tab, back };
  }

  test('of one browser signs nobody in in another', async (t) => {
    const { ann, tab, back } = await stopped(t);
    const eve = app(await (await visitor(t)).visit(back));
    await eve.says('link: bad_oauth_state');
    await eve.out();
    assert.equal(await eve.session(), null);

    const bo = await member(t); // who stays who they are
    const there = app(await bo.visit(back));
    await there.says('link: bad_oauth_state');
    await there.in(bo.email);
    assert.deepEqual(await there.identities(), ['email']);

    await tab.page.goto(back);
    await tab.in(ann.who.email);
  });
});

describe('an account elsewhere', () => {
  // Mission: S10
  test('is connected by a button of the site, without another question', async (t) => {
    const { tab, email } = await member(t);
    await leaves(tab, 'Connect GitHub', 'Ann Lee');
    await allow(tab);
    await tab.in(email);
    await tab.clean();
    assert.deepEqual(await tab.identities(), ['email', 'github']);
  });

  test('is connected by a link from elsewhere only after a question', async (t) => {
    const ann = await member(t);
    const link = await ann.tab.page.evaluate(
      async () => (await auth.linkIdentity({ provider: 'github', options: { redirectTo: back, skipBrowserRedirect: true } })).data.url,
    );
    const page = await ann.visit(link);
    assert.equal(new URL(page.url()).origin, server.url);
    await page.getByRole('heading', { name: 'Connect an account' }).waitFor();
    await page.getByText(ann.email).waitFor();
    for (const width of [1280, 360]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize({ width, height: 720 });
        await page.emulateMedia({ colorScheme });
        await shot(page, `link ${width} ${colorScheme}`);
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
      }
    }
    assert.deepEqual(await ann.tab.identities(), ['email']);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await page.waitForURL((to) => to.origin === idp.url);
    const there = app(page);
    await allow(there);
    await there.in(ann.email);
    assert.deepEqual(await there.identities(), ['email', 'github']);
  });
});

describe('netlify-identity-widget', () => {
  const dialog = (page) => page.frameLocator('#netlify-identity-widget');

  async function opened(t) {
    const ann = await visitor(t);
    const page = await ann.visit(shop.url);
    await page.getByRole('button', { name: 'Log in' }).click();
    return { ann, page };
  }

  // Mission: R24, S07, S08
  test('offers who is enabled, and signs in by their page', async (t) => {
    const { ann, page } = await opened(t);
    const button = dialog(page).getByRole('button', { name: 'Continue with Google' });
    await button.waitFor();
    assert.equal(await dialog(page).getByRole('button', { name: 'Continue with GitLab' }).count(), 0);
    await button.click();
    await page.waitForURL((to) => to.origin === idp.url);
    await page.locator('#allow').click();
    await dialog(page).getByRole('button', { name: 'Log out' }).waitFor();
    const user = await page.evaluate(() => {
      const { email, token, user_metadata } = netlifyIdentity.currentUser();
      return { email, token, name: user_metadata.full_name };
    });
    assert.equal(user.email, ann.who.email);
    assert.equal(user.name, 'Ann Lee');
    assert.equal(decode(user.token.access_token).claims.email, ann.who.email);
    assert.equal(new URL(page.url()).hash, '');
    assert.ok((await page.evaluate(() => events)).includes('login'));
  });

  test('lets nobody in who has refused', async (t) => {
    const { page } = await opened(t);
    await dialog(page).getByRole('button', { name: 'Continue with GitHub' }).click();
    await page.waitForURL((to) => to.origin === idp.url);
    await page.locator('#deny').click();
    await page.waitForURL((to) => to.origin === shop.url);
    await page.locator('.netlify-identity-login').waitFor();
    assert.equal(await page.evaluate(() => netlifyIdentity.currentUser()), null);
  });

  // Mission: R19
  test('takes an invitation with an account elsewhere', async (t) => {
    const ann = await visitor(t);
    const operator = { Authorization: `Bearer ${OPERATOR}` };
    const { email } = ann.who;
    const res = await askJSON('POST', `${shops.url}/.netlify/identity/invite`, { email }, operator);
    assert.equal(res.status, 200, res.text);
    const page = await ann.read(await mail.mailTo(email));
    await dialog(page).getByRole('button', { name: 'Continue with GitHub' }).click();
    await page.waitForURL((to) => to.origin === idp.url);
    await page.locator('#allow').click();
    await dialog(page).getByRole('button', { name: 'Log out' }).waitFor();
    assert.equal(await page.evaluate(() => netlifyIdentity.currentUser().email), email);
  });
});
