// @supabase/auth-js, as published, against a server that asks hooks of its
// operator before it lets anybody in.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { PASSWORD, decode, someone, startMail, startServer } from './harness.mjs';
import { newClient } from './supabase.mjs';

const secret = randomBytes(32);

let mail;
let hooks;
let server;

before(async () => {
  mail = await startMail();
  hooks = await startHooks();
  server = await startServer(mail, { GOTRUE_MAILER_AUTOCONFIRM: 'true', GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true', ...hooks.settings });
});

after(async () => {
  await server?.stop();
  await Promise.all([hooks?.stop(), mail?.stop()]);
});

const answers = {
  '/before': ({ user }) =>
    user.email.startsWith('eve-') ? { error: { http_code: 403, message: 'Eve is not let in' } } : {},
  '/claims': ({ claims, user_id: id }) => ({ claims: { ...claims, plan: 'gold', hooked: id } }),
  '/tried': ({ valid }) => (valid ? { decision: 'continue' } : { decision: 'reject', message: 'not today' }),
};

// startHooks answers as an operator's own service would, and keeps what it was
// asked.
async function startHooks() {
  const asked = [];
  const listener = http.createServer(async (req, res) => {
    let body = '';
    for await (const part of req) body += part;
    const text = `${req.headers['webhook-id']}.${req.headers['webhook-timestamp']}.${body}`;
    const signed = req.headers['webhook-signature'] === 'v1,' + createHmac('sha256', secret).update(text).digest('base64');
    const input = JSON.parse(body);
    asked.push({ path: req.url, signed, input });
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answers[req.url](input)));
  });
  await new Promise((r) => listener.listen(0, '127.0.0.1', r));
  const settings = {};
  for (const [name, path] of [
    ['BEFORE_USER_CREATED', '/before'],
    ['CUSTOM_ACCESS_TOKEN', '/claims'],
    ['PASSWORD_VERIFICATION_ATTEMPT', '/tried'],
  ]) {
    settings[`GOTRUE_HOOK_${name}_ENABLED`] = 'true';
    settings[`GOTRUE_HOOK_${name}_URI`] = `http://127.0.0.1:${listener.address().port}${path}`;
    settings[`GOTRUE_HOOK_${name}_SECRETS`] = `v1,whsec_${secret.toString('base64')}`;
  }
  return { settings, asked, stop: () => new Promise((r) => listener.close(r).closeAllConnections()) };
}

describe('hooks', () => {
  const ada = someone('ada');

  test('before-user-created lets in, and keeps out in its own words', async () => {
    const eve = await newClient(server).signUp({ email: someone('eve'), password: PASSWORD });
    assert.equal(eve.error?.status, 403);
    assert.equal(eve.error?.message, 'Eve is not let in');
    const { data, error } = await newClient(server).signUp({ email: ada, password: PASSWORD });
    assert.equal(error, null);
    assert.equal(data.user.email, ada);
  });

  test('custom-access-token adds claims, also when a session is refreshed', async () => {
    const client = newClient(server);
    const { data, error } = await client.signInWithPassword({ email: ada, password: PASSWORD });
    assert.equal(error, null);
    assert.equal(decode(data.session.access_token).claims.plan, 'gold');
    assert.equal(decode(data.session.access_token).claims.hooked, data.user.id);
    const again = await client.refreshSession();
    assert.equal(again.error, null);
    assert.equal(decode(again.data.session.access_token).claims.plan, 'gold');
    assert.equal((await client.getUser()).data.user.id, data.user.id);
  });

  test('password-verification-attempt hears of each password', async () => {
    const { error } = await newClient(server).signInWithPassword({ email: ada, password: `${PASSWORD} not` });
    assert.equal(error?.status, 400);
    assert.equal(error?.code, 'invalid_credentials');
    assert.deepEqual(hooks.asked.filter((a) => a.path === '/tried').map((a) => a.input.valid), [true, false]);
  });

  test('every call was signed, and said of whom it was', () => {
    assert.ok(hooks.asked.length >= 6, `${hooks.asked.length} calls`);
    for (const { path, signed, input } of hooks.asked) {
      assert.ok(signed, `${path} is not signed`);
      if (path === '/before') assert.equal(input.metadata.name, 'before-user-created');
      else assert.match(input.user_id, /^[0-9a-f-]{36}$/);
    }
  });
});
