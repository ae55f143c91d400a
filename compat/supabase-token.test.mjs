// @supabase/auth-js, as published: signing in without a redirect, by an ID token
// that the page has from the provider itself, and by a wallet's signature.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { newVisitor, startIdP } from './elsewhere.mjs';
import { SECRET, SITE, askJSON, decode, someone, startMail, startServer } from './harness.mjs';
import { newClient, refused, signedUp } from './supabase.mjs';
import { ethereumWallet, solanaWallet, writing } from './wallets.mjs';

let mail;
let idp;
let server;
let closed; // lets nobody in but by mail and password

before(async () => {
  mail = await startMail();
  idp = await startIdP();
  server = await startServer(mail, {
    ...(await idp.settings('google', 'apple')),
    GOTRUE_JWT_SECRET: SECRET,
    GOTRUE_MAILER_AUTOCONFIRM: 'true',
    GOTRUE_EXTERNAL_WEB3_ETHEREUM_ENABLED: 'true',
    GOTRUE_EXTERNAL_WEB3_SOLANA_ENABLED: 'true',
  });
  closed = await startServer(mail, { GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true' });
  await idp.registers(server);
});

after(async () => {
  await Promise.all([server?.stop(), closed?.stop()]);
  await Promise.all([idp?.stop(), mail?.stop()]);
});

describe('signInWithIdToken', () => {
  for (const vendor of ['google', 'apple']) {
    // Mission: R24, S10
    test(`signs in by a token of ${vendor}, the first time and again`, async () => {
      const person = await idp.person();
      const auth = newClient(server);
      const nonce = randomUUID(); // the provider is told its hash, the server itself
      const token = await idp.idToken(person, { vendor, nonce: createHash('sha256').update(nonce).digest('hex') });
      const { data, error } = await auth.signInWithIdToken({ provider: vendor, token, nonce });
      assert.equal(error, null);
      assert.equal(data.user.email, person.email);
      assert.ok(Date.parse(data.user.email_confirmed_at));
      assert.equal(data.user.app_metadata.provider, vendor);
      assert.equal(data.user.identities[0].id, person.subject);
      assert.equal(decode(data.session.access_token).claims.amr[0].method, 'oauth');
      assert.equal((await auth.refreshSession()).data.user.id, data.user.id);
      const again = await newClient(server).signInWithIdToken({ provider: vendor, token: await idp.idToken(person, { vendor }) });
      assert.equal(again.data.user.id, data.user.id);
    });
  }

  test('is the same user whom a redirect brings', async () => {
    const person = await idp.person();
    const { data } = await newClient(server).signInWithIdToken({ provider: 'google', token: await idp.idToken(person) });
    const way = await newClient(server).signInWithOAuth({ provider: 'google', options: { skipBrowserRedirect: true } });
    const to = await newVisitor(person).go(way.data.url);
    assert.equal(decode(to.fragment.get('access_token')).claims.sub, data.user.id);
  });

  test('takes what Google’s own button hands a page', async () => {
    const person = await idp.person();
    const { status, json } = await askJSON('POST', `${server.url}/token?grant_type=id_token`, { provider: 'google', credential: await idp.idToken(person) });
    assert.equal(status, 200);
    assert.equal(json.user.email, person.email);
  });

  const hash = (nonce) => createHash('sha256').update(nonce).digest('hex');
  const bad = {
    'for another application': [{ client: 'somebody else' }],
    'with a nonce that is not told': [{ nonce: hash('a nonce') }],
    'with another nonce': [{ nonce: hash('a nonce') }, { nonce: 'another' }],
    'without the nonce that is told': [{}, { nonce: 'a nonce' }],
    'with the nonce itself': [{ nonce: 'a nonce' }, { nonce: 'a nonce' }],
    'of another issuer': [{ forge: { claims: { iss: 'https://evil.example' } } }],
    'that is over': [{ forge: { claims: { exp: 1_700_000_000 } } }],
    'signed by a stranger': [{ forge: { stranger: true } }],
    'signed by nobody': [{ forge: { alg: 'none' } }],
    'signed with the client’s secret': [{ forge: { alg: 'HS256', secret: 'what only we and the provider know' } }],
    'of another provider': [{ vendor: 'apple' }],
  };
  for (const [what, [made, told = {}]] of Object.entries(bad)) {
    test(`takes no token ${what}`, async () => {
      const auth = newClient(server);
      const token = await idp.idToken(await idp.person(), made);
      const { error, data } = await auth.signInWithIdToken({ provider: 'google', token, ...told });
      assert.equal(error?.status, 400, String(error));
      assert.equal(data.session, null);
      assert.equal((await auth.getSession()).data.session, null);
    });
  }

  test('takes what is no token for none, and a provider that is not enabled for none', async () => {
    for (const token of ['x', 'a.b.c', '']) assert.equal((await newClient(server).signInWithIdToken({ provider: 'google', token })).error.status, 400);
    const token = await idp.idToken(await idp.person());
    assert.equal((await newClient(closed).signInWithIdToken({ provider: 'google', token })).error.status, 400);
  });

  test('brings the token of an address that is not proved to nobody', async () => {
    const { email, auth } = await signedUp(server);
    const token = await idp.idToken({ ...(await idp.person()), email, email_verified: 'false' });
    refused(await newClient(server).signInWithIdToken({ provider: 'google', token }), 'provider_email_needs_verification', 422);
    assert.equal((await auth.getUserIdentities()).data.identities.length, 1);
  });
});

describe('signInWithWeb3', () => {
  const url = `${SITE}/`;
  const chains = {
    ethereum: { make: ethereumWallet, options: { url } },
    solana: { make: solanaWallet, options: { url } },
  };

  for (const [chain, { make, options }] of Object.entries(chains)) {
    // Mission: R24
    test(`signs in with a wallet of ${chain}, and again`, async () => {
      const wallet = make();
      const auth = newClient(server);
      const { data, error } = await auth.signInWithWeb3({ chain, wallet, statement: 'I am who I am', options });
      assert.equal(error, null);
      assert.equal(data.user.email, '');
      assert.deepEqual(data.user.app_metadata, { provider: 'web3', providers: ['web3'] });
      assert.equal(data.user.identities[0].provider, 'web3');
      assert.equal(data.user.identities[0].id, `web3:${chain}:${wallet.address}`);
      assert.equal(data.user.is_anonymous, false);
      assert.equal(decode(data.session.access_token).claims.amr[0].method, 'web3');
      const next = await auth.refreshSession();
      assert.equal(next.error, null);
      assert.equal(next.data.user.id, data.user.id);
      assert.equal((await auth.getUser()).data.user.id, data.user.id);

      assert.equal((await newClient(server).signInWithWeb3({ chain, wallet, options })).data.user.id, data.user.id);
      assert.notEqual((await newClient(server).signInWithWeb3({ chain, wallet: make(), options })).data.user.id, data.user.id);
    });

    test(`takes no message of ${chain} for another site`, async () => {
      const asked = { chain, wallet: make(), options: { url: 'https://evil.example/' } };
      assert.equal((await newClient(server).signInWithWeb3(asked)).error?.status, 400);
    });

    test(`takes no message of ${chain} that is old, or of the time to come`, async () => {
      for (const minutes of [-60, 60]) {
        const issuedAt = new Date(Date.now() + minutes * 60_000);
        const mine = { signInWithEthereum: { issuedAt }, signInWithSolana: { issuedAt: issuedAt.toISOString() } };
        const { error } = await newClient(server).signInWithWeb3({ chain, wallet: make(), options: { ...options, ...mine } });
        assert.equal(error?.status, 400, String(error));
      }
    });

    test(`says that ${chain} is not to be had where it is not`, async () => {
      refused(await newClient(closed).signInWithWeb3({ chain, wallet: make(), options }), 'web3_provider_disabled', 422);
    });
  }

  test('signs in with a wallet of solana that writes the message itself', async () => {
    const wallet = solanaWallet();
    const sign = (w) => newClient(server).signInWithWeb3({ chain: 'solana', wallet: w, statement: 'I am who I am', options: { url } });
    const { data, error } = await sign(writing(wallet));
    assert.equal(error, null);
    assert.equal((await sign(wallet)).data.user.id, data.user.id);
  });

  const texts = {
    ethereum: (address, nonce) =>
      `localhost:3000 wants you to sign in with your Ethereum account:\n${address}\n\nHello\n\nURI: ${url}\nVersion: 1\nChain ID: 1\nNonce: ${nonce}\nIssued At: ${new Date().toISOString()}`,
    solana: (address, nonce) =>
      `localhost:3000 wants you to sign in with your Solana account:\n${address}\n\nHello\n\nURI: ${url}\nVersion: 1\nNonce: ${nonce}\nIssued At: ${new Date().toISOString()}`,
  };
  const signers = { ethereum: (w, text) => w.sign(text), solana: (w, text) => w.signMessage(Buffer.from(text)) };

  for (const chain of ['ethereum', 'solana']) {
    test(`takes a message of ${chain} with its signature, once, and only as it was signed`, async () => {
      const wallet = chains[chain].make();
      const message = texts[chain](wallet.address, randomUUID().replaceAll('-', ''));
      const signature = await signers[chain](wallet, message);
      const send = (m, s) => newClient(server).signInWithWeb3({ chain, message: m, signature: s });
      const other = await signers[chain](chains[chain].make(), message);
      for (const [m, s] of [[message.replace('Hello', 'Hallo'), signature], [message, other]]) assert.equal((await send(m, s)).error?.status, 400);
      const { data, error } = await send(message, signature);
      assert.equal(error, null);
      assert.equal(data.user.identities[0].id, `web3:${chain}:${wallet.address}`);
      assert.equal((await send(message, signature)).error?.status, 400, 'a second time');
    });
  }
});
