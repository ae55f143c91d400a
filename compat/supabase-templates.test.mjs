// The mail settings of other servers: subjects, templates and link paths, with
// the template variables they know.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { OPERATOR, PASSWORD, SITE, follow, someone, startMail, startServer } from './harness.mjs';
import { newClient } from './supabase.mjs';

const KINDS = ['CONFIRMATION', 'INVITE', 'RECOVERY', 'EMAIL_CHANGE'];
const TEMPLATE =
  '<p id="site">{{ .SiteURL }}</p><p id="to">{{ .Email }}</p><p id="new">{{ .NewEmail }}</p>' +
  '<p id="name">{{ .Data.full_name }}</p><p>Your code: {{ .Token }}</p><a href="{{ .ConfirmationURL }}">KIND</a>';

let mail;
let files; // the operator's site, which has the templates
let server;

before(async () => {
  mail = await startMail();
  files = http.createServer((req, res) => {
    const kind = req.url.slice(1);
    if (!KINDS.includes(kind)) {
      res.writeHead(404).end();
      return;
    }
    res.writeHead(200, { 'Content-Type': 'text/html' }).end(TEMPLATE.replace('KIND', kind));
  });
  await new Promise((r) => files.listen(0, '127.0.0.1', r));
  const at = `http://127.0.0.1:${files.address().port}`;
  const settings = { GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true', GOTRUE_MAILER_TEMPLATES_MAGIC_LINK: `${at}/gone` };
  for (const k of KINDS) {
    settings[`GOTRUE_MAILER_SUBJECTS_${k}`] = `About ${k}`;
    settings[`GOTRUE_MAILER_TEMPLATES_${k}`] = `${at}/${k}`;
  }
  server = await startServer(mail, settings);
});

after(async () => {
  await server?.stop();
  files?.close();
  await mail?.stop();
});

const part = (m, id) => m.html.match(new RegExp(`<p id="${id}">(.*?)</p>`))?.[1];

// Mission: M02, M03
describe('an operator’s own mail', () => {
  const full_name = '<b>Ann</b> & {{.Token}}';
  const check = (m, kind, email) => {
    assert.equal(m.subject, `About ${kind}`);
    assert.equal(part(m, 'site'), SITE);
    assert.equal(part(m, 'to'), email);
    assert.equal(part(m, 'name'), '&lt;b&gt;Ann&lt;/b&gt; &amp; {{.Token}}', 'what users write stays text');
    assert.ok(m.html.includes(`>${kind}</a>`));
    assert.ok(m.link.startsWith(`${server.url}/verify?`), m.link);
  };

  test('confirms, recovers and changes an address', async () => {
    const auth = newClient(server);
    const email = someone();
    await auth.signUp({ email, password: PASSWORD, options: { data: { full_name } } });
    const confirm = await mail.mailTo(email);
    check(confirm, 'CONFIRMATION', email);
    assert.equal((await auth.verifyOtp({ token_hash: confirm.token, type: 'email' })).error, null);

    await auth.resetPasswordForEmail(email);
    const recover = await mail.mailTo(email, { after: confirm });
    check(recover, 'RECOVERY', email);
    assert.ok((await follow(recover.link)).fragment.get('access_token'));

    const next = someone('new');
    await auth.updateUser({ email: next });
    for (const m of [await mail.mailTo(next), await mail.mailTo(email, { after: recover })]) {
      check(m, 'EMAIL_CHANGE', email);
      assert.equal(part(m, 'new'), next);
    }
  });

  test('invites', async () => {
    const email = someone();
    const { admin } = newClient(server, { headers: { Authorization: `Bearer ${OPERATOR}` } });
    assert.equal((await admin.inviteUserByEmail(email, { data: { full_name } })).error, null);
    const m = await mail.mailTo(email);
    check(m, 'INVITE', email);
    assert.ok((await follow(m.link)).fragment.get('access_token'));
  });
});

// Mission: M04
test('a template that cannot be had is replaced by the built-in one', async () => {
  const auth = newClient(server);
  const email = someone();
  await auth.signUp({ email, password: PASSWORD });
  const first = await mail.mailTo(email);
  await auth.verifyOtp({ token_hash: first.token, type: 'email' });
  await auth.signInWithOtp({ email });
  const m = await mail.mailTo(email, { after: first });
  assert.ok(m.subject);
  assert.ok(m.code);
  assert.ok((await follow(m.link)).fragment.get('access_token'));
});

// Mission: M02
test('links begin where the settings say', async () => {
  const settings = { GATEHOUSE_MAILER_LINK_STYLE: 'netlify' };
  for (const k of KINDS) settings[`GOTRUE_MAILER_URLPATHS_${k}`] = `/welcome/${k.toLowerCase()}`;
  const linked = await startServer(mail, settings);
  try {
    const email = someone();
    await newClient(linked).signUp({ email, password: PASSWORD });
    const m = await mail.mailTo(email);
    assert.ok(m.link.startsWith(`${SITE}/welcome/confirmation#confirmation_token=`), m.link);
  } finally {
    await linked.stop();
  }
});
