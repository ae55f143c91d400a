// @supabase/auth-js, as published: signing in with the identity provider of one's
// company (SAML 2.0), which an operator has added.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { newVisitor, startIdP } from './elsewhere.mjs';
import { OPERATOR, PASSWORD, SECRET, SITE, ask, decode, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused, signedUp, tokensOf } from './supabase.mjs';

const CALLBACK = 'https://app.example.com/cb';
const DOMAIN = 'acme.example';

let mail;
let idp;
let server;
let plain; // knows nothing of companies
let company; // the connection, as the server tells of it

before(async () => {
  mail = await startMail();
  idp = await startIdP('-saml');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  server = await startServer(mail, {
    GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true',
    GOTRUE_JWT_SECRET: SECRET,
    GOTRUE_MAILER_AUTOCONFIRM: 'true',
    GOTRUE_SAML_ENABLED: 'true',
    GOTRUE_SAML_PRIVATE_KEY: privateKey.export({ type: 'pkcs1', format: 'der' }).toString('base64'),
  });
  plain = await startServer(mail);
  const metadata = await ask('GET', `${server.url}/sso/saml/metadata`);
  assert.equal(metadata.status, 200, metadata.text);
  assert.match(metadata.headers['content-type'], /xml/);
  await idp.tellCompany({ trust: metadata.text });
  const { status, json, text } = await operator('POST', '', {
    type: 'saml',
    metadata_url: idp.saml.entity_id,
    domains: [DOMAIN],
    attribute_mapping: { keys: { full_name: { name: 'displayName' }, department: { name: 'ou', default: 'none' } } },
  });
  assert.equal(status, 201, text);
  company = json;
});

after(async () => {
  await Promise.all([server?.stop(), plain?.stop()]);
  await Promise.all([idp?.stop(), mail?.stop()]);
});

// operator is a call of the operator's own server: auth-js has no methods for these.
const operator = (method, path, body) =>
  ask(method, `${server.url}/admin/sso/providers${path}`, {
    headers: { Authorization: `Bearer ${OPERATOR}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });

// employee signs somebody in at the company. One at a time is.
async function employee(attributes = { displayName: ['Jo Doe'] }) {
  const email = someone('jo').replace('example.org', DOMAIN);
  await idp.tellCompany({ user: { name_id: email, attributes }, flaw: '' });
  return email;
}

async function way(params, options) {
  const auth = newClient(server, options);
  const { data, error } = await auth.signInWithSSO({ ...params, options: { redirectTo: CALLBACK, skipBrowserRedirect: true } });
  assert.equal(error, null);
  return { auth, url: data.url };
}

function nobody(to, base = CALLBACK) {
  assert.equal(to.base, base, to.href ?? to.text);
  for (const part of [to.query, to.fragment]) for (const key of ['code', 'access_token']) assert.equal(part.get(key), null, to.href);
  assert.ok(to.query.get('error') && to.query.get('error_code'), to.href);
}

describe('signInWithSSO', () => {
  const known = { 'a domain': () => ({ domain: DOMAIN }), 'a provider’s id': () => ({ providerId: company.id }) };
  for (const [by, params] of Object.entries(known)) {
    // Mission: R24, S07
    test(`signs in by ${by}, in both flows, the same user`, async () => {
      const email = await employee({ displayName: ['Jo Doe'], ou: ['Sales'] });
      const implicit = await way(params());
      const to = await newVisitor().go(implicit.url);
      assert.equal(to.base, CALLBACK, to.text);
      const first = await implicit.auth.setSession(tokensOf(to));
      assert.equal(first.error, null);
      const { user, session } = first.data;
      assert.equal(user.email, email);
      assert.equal(user.app_metadata.provider, `sso:${company.id}`);
      assert.equal(user.user_metadata.full_name, 'Jo Doe');
      assert.equal(user.user_metadata.department, 'Sales');
      assert.equal(decode(session.access_token).claims.amr[0].method, 'sso/saml');
      assert.equal((await implicit.auth.refreshSession()).data.user.id, user.id);

      const pkce = await way(params(), { flowType: 'pkce' });
      const code = (await newVisitor().go(pkce.url)).query.get('code');
      const { data, error } = await pkce.auth.exchangeCodeForSession(code);
      assert.equal(error, null);
      assert.equal(data.user.id, user.id);
    });
  }

  test('names the company’s id in the token', async () => {
    await employee();
    const { url } = await way({ domain: DOMAIN });
    const { claims } = decode(tokensOf(await newVisitor().go(url)).access_token);
    assert.equal(claims.amr[0].provider, company.id);
  });

  test('says that there is no such company, and that there are none', async () => {
    const none = { domain: 'nowhere.example' };
    refused(await newClient(server).signInWithSSO(none), 'sso_provider_not_found', 404);
    refused(await newClient(server).signInWithSSO({ providerId: crypto.randomUUID() }), 'sso_provider_not_found', 404);
    refused(await newClient(plain).signInWithSSO(none), 'saml_provider_disabled', 404);
  });

  for (const flaw of ['unsigned', 'signed by another key, whose certificate comes along', 'for another audience', 'for another recipient', 'with conditions that are over', 'in response to another request', 'changed after signing']) {
    test(`takes no assertion ${flaw}`, async () => {
      await employee();
      const { url } = await way({ domain: DOMAIN });
      await idp.tellCompany({ flaw });
      nobody(await newVisitor().go(url), `${SITE}/`);
    });
  }

  test('takes an assertion from the browser that asked, and once', async () => {
    const email = await employee();
    const { url, auth } = await way({ domain: DOMAIN });
    const ann = newVisitor();
    const back = await ann.go(url, { until: /\/saml\/acs/ });
    const post = () => ask('POST', back.form.action, { headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: back.form.fields.toString() });
    const sent = await post();
    assert.equal(sent.status, 303, sent.text);
    const finish = new URL(sent.headers.location, back.form.action).href;
    nobody(await newVisitor().go(finish), `${SITE}/`);
    const to = await ann.go(finish);
    assert.equal((await auth.setSession(tokensOf(to))).data.user.email, email);
    nobody(await ann.go(finish), `${SITE}/`);
    const again = await post();
    assert.equal(again.status, 302);
    assert.match(again.headers.location, /error_code=/);
  });

  test('lets in by the link of a portal where the operator wants it so', async () => {
    const portal = `${idp.saml.url}/initiate`;
    await employee();
    nobody(await newVisitor().go(portal), `${SITE}/`);
    assert.equal((await operator('PUT', `/${company.id}`, { allow_idp_initiated: true })).status, 200);
    const email = await employee();
    const to = await newVisitor().go(`${portal}?RelayState=${encodeURIComponent(CALLBACK)}`);
    assert.equal(to.base, CALLBACK, to.text);
    assert.equal((await newClient(server).setSession(tokensOf(to))).data.user.email, email);
    assert.equal((await operator('PUT', `/${company.id}`, { allow_idp_initiated: false })).json.saml.allow_idp_initiated, false);
  });

  test('leaves the account to the company', async () => {
    await employee();
    const { url, auth } = await way({ domain: DOMAIN });
    await auth.setSession(tokensOf(await newVisitor().go(url)));
    refused(await auth.updateUser({ password: PASSWORD }), 'user_sso_managed', 422);
    refused(await auth.updateUser({ email: someone() }), 'user_sso_managed', 422);
  });

  test('brings nobody into the account of somebody whose address another company names', async () => {
    const { auth, email } = await signedUp(server); // not of acme.example
    await idp.tellCompany({ user: { name_id: email }, flaw: '' });
    const { url } = await way({ domain: DOMAIN });
    nobody(await newVisitor().go(url), `${SITE}/`);
    assert.deepEqual((await auth.getUserIdentities()).data.identities.map((i) => i.provider), ['email']);
  });
});

describe('/admin/sso/providers', () => {
  // Mission: C10
  test('lists, shows, changes and removes companies', async () => {
    const { json: list } = await operator('GET', '');
    assert.deepEqual(list.items.map((i) => i.id), [company.id]);
    assert.equal(list.items[0].saml.metadata_xml, undefined);
    const { json: shown } = await operator('GET', `/${company.id}`);
    assert.equal(shown.saml.entity_id, idp.saml.entity_id);
    assert.equal(shown.saml.metadata_url, idp.saml.entity_id);
    assert.match(shown.saml.metadata_xml, /EntityDescriptor/);
    assert.deepEqual(shown.domains.map((d) => d.domain), [DOMAIN]);

    const twice = await operator('POST', '', { type: 'saml', metadata_url: idp.saml.entity_id });
    assert.deepEqual([twice.status, twice.json.error_code], [422, 'saml_idp_already_exists']);

    assert.equal((await operator('PUT', `/${company.id}`, { disabled: true, domains: ['else.example'] })).json.disabled, true);
    refused(await newClient(server).signInWithSSO({ providerId: company.id }), 'sso_provider_disabled', 404);
    refused(await newClient(server).signInWithSSO({ domain: DOMAIN }), 'sso_provider_not_found', 404);
    const { json: gone } = await operator('DELETE', `/${company.id}`);
    assert.equal(gone.id, company.id);
    assert.equal((await operator('GET', `/${company.id}`)).json.error_code, 'sso_provider_not_found');
    const xml = (await ask('GET', idp.saml.entity_id)).text;
    const made = await operator('POST', '', { type: 'saml', metadata_xml: xml, resource_id: 'acme', domains: [DOMAIN] });
    assert.equal(made.status, 201, made.text);
    assert.equal((await operator('GET', '/resource_acme')).json.id, made.json.id);
    const email = await employee();
    const { url, auth } = await way({ domain: DOMAIN });
    assert.equal((await auth.setSession(tokensOf(await newVisitor().go(url)))).data.user.email, email);
  });

  test('is the operator’s alone', async () => {
    const { session } = await signedUp(server);
    assert.equal((await ask('GET', `${server.url}/admin/sso/providers`, { headers: { Authorization: `Bearer ${session.access_token}` } })).status, 403);
    assert.equal((await ask('GET', `${server.url}/admin/sso/providers`)).status, 401);
  });
});
