// gotrue-js, as published, on servers that were told something else about it,
// or nothing.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { asBrowser, hushHTTP, letGo } from './browser.mjs';
import { PASSWORD, SITE, someone, startMail, startServer } from './harness.mjs';

hushHTTP();
letGo();
asBrowser(SITE);
const { default: GoTrue1 } = await import('gotrue-js');
const zero = await import('gotrue-js-0');
const GoTrue0 = zero.default.default ?? zero.default;

const WRONG = 'invalid_grant: No user found with that email, or password invalid.';

let mail;
before(async () => {
  mail = await startMail();
});
after(() => mail?.stop());

describe('gotrue-js 0.9.29, on a server that was told nothing', () => {
  let strict;
  before(async () => {
    strict = await startServer(mail);
  });
  after(() => strict?.stop());

  test('gets a link to the server, whose token it can use as well', async () => {
    const auth = new GoTrue0({ APIUrl: strict.url });
    const email = someone();
    await auth.signup(email, PASSWORD);
    const m = await mail.mailTo(email);
    const user = await auth.confirm(m.token);
    assert.equal(user.email, email);
    await assert.rejects(auth.login(email, 'wrong password'), { message: WRONG });
    assert.equal((await auth.login(email, PASSWORD)).id, user.id);
    await user.logout();
  });

  test('a site of Netlify’s links needs only one setting', async () => {
    const linked = await startServer(mail, { GATEHOUSE_MAILER_LINK_STYLE: 'netlify' });
    try {
      const auth = new GoTrue0({ APIUrl: linked.url });
      const email = someone();
      await auth.signup(email, PASSWORD);
      const m = await mail.mailTo(email);
      assert.ok(m.link.startsWith(`${SITE}/#confirmation_token=`), m.link);
      assert.equal((await auth.confirm(m.token)).email, email);
    } finally {
      await linked.stop();
    }
  });
});

describe('gotrue-js 1.0.1, GATEHOUSE_DIALECT=supabase', () => {
  test('is known by what it says of itself', async () => {
    const server = await startServer(mail, { GATEHOUSE_DIALECT: 'supabase' });
    try {
      const auth = new GoTrue1({ APIUrl: server.url });
      const email = someone();
      await auth.signup(email, PASSWORD);
      const m = await mail.mailTo(email);
      assert.ok(m.link.startsWith(`${SITE}/#confirmation_token=`), m.link);
      const user = await auth.confirm(m.token);
      await user.logout();
      await assert.rejects(auth.login(email, 'wrong password'), { message: WRONG });
    } finally {
      await server.stop();
    }
  });
});
