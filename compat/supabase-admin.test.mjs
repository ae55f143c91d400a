// @supabase/auth-js, as published: what an operator's own server does with the
// service_role key.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isAuthSessionMissingError } from '@supabase/auth-js';
import { OPERATOR, PASSWORD, SECRET, ask, follow, sign, someone, startMail, startServer } from './harness.mjs';
import { adminWith, newClient, refused } from './supabase.mjs';

let mail;
let server; // addresses must be confirmed
let admin;

before(async () => {
  mail = await startMail();
  server = await startServer(mail, { GOTRUE_JWT_SECRET: SECRET });
  admin = adminWith(server, sign({ role: 'service_role' })); // no exp: such keys live for ever
});

after(async () => {
  await server?.stop();
  await mail?.stop();
});

// made is a user an operator made.
async function made(attributes = {}) {
  const email = someone();
  const { data, error } = await admin.createUser({ email, password: PASSWORD, email_confirm: true, ...attributes });
  assert.equal(error, null);
  return data.user;
}

describe('an operator', () => {
  // Mission: U13, U11, R13
  test('makes users', async () => {
    const email = someone();
    const { data, error } = await admin.createUser({
      email,
      password: PASSWORD,
      email_confirm: true,
      user_metadata: { full_name: 'Ann' },
      app_metadata: { roles: ['editor'] },
      role: 'editor',
    });
    assert.equal(error, null);
    assert.equal(data.user.email, email);
    assert.equal(data.user.role, 'editor');
    assert.equal(data.user.user_metadata.full_name, 'Ann');
    assert.deepEqual(data.user.app_metadata.roles, ['editor']);
    assert.equal(data.user.app_metadata.provider, 'email');
    assert.ok(Date.parse(data.user.email_confirmed_at));
    assert.equal((await newClient(server).signInWithPassword({ email, password: PASSWORD })).error, null);
    refused(await admin.createUser({ email, password: PASSWORD }), 'email_exists', 422);
    refused(await admin.createUser({ password: PASSWORD }), 'validation_failed', 400);
    assert.equal(await mail.countTo(email, server.url), 0);
  });

  test('makes users who still must confirm, and users without a password', async () => {
    const user = await made({ email_confirm: false });
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'email_not_confirmed', 400);
    const bare = await made({ password: undefined });
    refused(await newClient(server).signInWithPassword({ email: bare.email, password: PASSWORD }), 'invalid_credentials', 400);
    const id = crypto.randomUUID();
    assert.equal((await made({ id })).id, id);
  });

  test('brings along password hashes of other systems', async () => {
    const password_hash = '$2a$04$CaP8mtbm5O2qU2QzApzA6.1HGF96mPGTaDqbRidc9rMxKJkJ6GoSC'; // of PASSWORD
    const user = await made({ password: undefined, password_hash });
    for (let n = 0; n < 2; n++) {
      assert.equal((await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD })).error, null);
    }
    refused(await newClient(server).signInWithPassword({ email: user.email, password: 'wrong password' }), 'invalid_credentials', 400);
    assert.ok(!JSON.stringify((await admin.getUserById(user.id)).data).includes('$'), 'and shows none');
    refused(await admin.createUser({ email: someone(), password: PASSWORD, password_hash }), 'validation_failed', 400);
    refused(await admin.createUser({ email: someone(), password_hash: '$what$ever' }), 'validation_failed', 400);
  });

  // Mission: U13
  test('lists users page by page', async () => {
    const some = [];
    for (let n = 0; n < 5; n++) some.push((await made()).id);
    const all = await admin.listUsers();
    assert.equal(all.error, null);
    assert.ok(all.data.users.length >= 5);
    assert.ok(all.data.total >= 5, String(all.data.total));
    assert.ok(some.every((id) => all.data.users.some((u) => u.id === id)));

    const seen = new Set();
    let page = 1;
    for (;;) {
      const { data, error } = await admin.listUsers({ page, perPage: 2 });
      assert.equal(error, null);
      assert.ok(data.users.length <= 2);
      for (const u of data.users) {
        assert.ok(!seen.has(u.id), 'nobody is listed twice');
        seen.add(u.id);
      }
      if (!data.nextPage || page > 8) break; // the client reads one digit of the page
      assert.equal(data.nextPage, page + 1);
      page = data.nextPage;
    }
    assert.ok(some.every((id) => seen.has(id)) || page > 8);
    assert.deepEqual((await admin.listUsers({ page: 999, perPage: 50 })).data.users, []);
  });

  // Mission: U13
  test('lists users by cursor, which misses nobody and is never twice the same', async () => {
    const key = { Authorization: `Bearer ${OPERATOR}` };
    const some = [];
    for (let n = 0; n < 5; n++) some.push((await made()).id);
    const seen = [];
    let cursor = '';
    for (let n = 0; n < 100; n++) {
      const { status, json } = await ask('GET', `${server.url}/admin/users?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { headers: key });
      assert.equal(status, 200);
      assert.ok(json.users.length <= 2);
      seen.push(...json.users.map((u) => u.id));
      if (n === 0) await made(); // newer than the cursor
      assert.equal(typeof json.pagination.has_more, 'boolean');
      cursor = json.pagination.next_cursor ?? '';
      assert.equal(Boolean(cursor), json.pagination.has_more);
      if (!cursor) break;
    }
    assert.equal(new Set(seen).size, seen.length);
    for (const id of some) assert.ok(seen.includes(id), id);
    assert.equal((await ask('GET', `${server.url}/admin/users?limit=2&cursor=rubbish`, { headers: key })).status, 400);
  });

  // Mission: U13
  test('finds and sorts users', async () => {
    const user = await made();
    const list = async (query) => (await ask('GET', `${server.url}/admin/users?${query}`, { headers: { Authorization: `Bearer ${OPERATOR}` } })).json;
    const found = await list(`filter=${user.email.slice(0, 16)}`);
    assert.deepEqual(found.users.map((u) => u.id), [user.id]);
    const { users } = await list('sort=email%20asc&per_page=1000');
    const addresses = users.map((u) => u.email).filter(Boolean);
    assert.deepEqual(addresses, [...addresses].sort());
  });

  // Mission: U01, U13
  test('looks users up', async () => {
    const user = await made();
    const { data, error } = await admin.getUserById(user.id);
    assert.equal(error, null);
    assert.equal(data.user.email, user.email);
    assert.equal(data.user.identities.length, 1);
    refused(await admin.getUserById(crypto.randomUUID()), 'user_not_found', 404);
  });

  // Mission: U13, U04
  test('changes users', async () => {
    const user = await made({ user_metadata: { a: 1, b: 2 } });
    const next = someone('new');
    const { data, error } = await admin.updateUserById(user.id, {
      email: next,
      password: 'a new password',
      user_metadata: { b: null, c: 3 },
      app_metadata: { plan: 'pro' },
    });
    assert.equal(error, null);
    assert.equal(data.user.email, next);
    const { a, b, c } = data.user.user_metadata;
    assert.deepEqual({ a, b, c }, { a: 1, b: undefined, c: 3 });
    assert.equal(data.user.app_metadata.plan, 'pro');
    assert.equal(data.user.app_metadata.provider, 'email');
    assert.equal((await newClient(server).signInWithPassword({ email: next, password: 'a new password' })).error, null);
    refused(await admin.updateUserById(crypto.randomUUID(), { role: 'x' }), 'user_not_found', 404);
    const other = await made();
    refused(await admin.updateUserById(user.id, { email: other.email }), 'email_exists', 422);
  });

  // Mission: U14
  test('bans users, and lifts the ban', async () => {
    const user = await made();
    const auth = newClient(server);
    await auth.signInWithPassword({ email: user.email, password: PASSWORD });
    const { session } = (await auth.getSession()).data;
    const banned = await admin.updateUserById(user.id, { ban_duration: '24h' });
    assert.ok(Date.parse(banned.data.user.banned_until) > Date.now());
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'user_banned', 400);
    const { error } = await auth.getUser();
    assert.ok(isAuthSessionMissingError(error) || error?.code === 'user_banned', String(error));
    const { error: stale } = await newClient(server).refreshSession({ refresh_token: session.refresh_token });
    assert.match(stale?.code ?? '', /^(user_banned|refresh_token_not_found)$/);
    const free = await admin.updateUserById(user.id, { ban_duration: 'none' });
    assert.equal(free.data.user.banned_until ?? null, null);
    assert.equal((await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD })).error, null);
  });

  // Mission: U14
  test('makes users who are banned for a while', async () => {
    const user = await made({ ban_duration: '1h' });
    const left = Date.parse(user.banned_until) - Date.now();
    assert.ok(left > 3500_000 && left <= 3600_000, String(left));
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'user_banned', 400);
    refused(await newClient(server).signInWithPassword({ email: user.email, password: 'wrong password' }), 'invalid_credentials', 400);
    refused(await admin.updateUserById(user.id, { ban_duration: 'for ever' }), 'validation_failed', 400);
    const short = await made({ ban_duration: '1ms' });
    assert.equal((await newClient(server).signInWithPassword({ email: short.email, password: PASSWORD })).error, null);
  });

  // Mission: U05
  test('deletes users for good', async () => {
    const user = await made();
    const auth = newClient(server);
    await auth.signInWithPassword({ email: user.email, password: PASSWORD });
    const { data, error } = await admin.deleteUser(user.id);
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
    refused(await admin.getUserById(user.id), 'user_not_found', 404);
    refused(await admin.deleteUser(user.id), 'user_not_found', 404);
    const { error: gone } = await auth.getUser();
    assert.ok(isAuthSessionMissingError(gone) || gone?.code === 'user_not_found', String(gone));
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'invalid_credentials', 400);
    assert.equal((await admin.createUser({ email: user.email, password: PASSWORD })).error, null);
  });

  // Mission: U05
  test('deletes users softly: the id stays taken, the person is gone', async () => {
    const user = await made({ user_metadata: { full_name: 'Ann' } });
    const auth = newClient(server);
    await auth.signInWithPassword({ email: user.email, password: PASSWORD });
    assert.equal((await admin.deleteUser(user.id, true)).error, null);
    const { data, error } = await admin.getUserById(user.id);
    assert.equal(error, null);
    assert.ok(Date.parse(data.user.deleted_at));
    assert.ok(!JSON.stringify(data.user).includes(user.email));
    assert.ok(!JSON.stringify(data.user).includes('Ann'));
    assert.ok((await auth.getUser()).error);
    refused(await newClient(server).signInWithPassword({ email: user.email, password: PASSWORD }), 'invalid_credentials', 400);
  });

  // Mission: R19
  test('invites by mail', async () => {
    const email = someone();
    const { data, error } = await admin.inviteUserByEmail(email, { data: { team: 'red' }, redirectTo: 'https://app.example.com/hello' });
    assert.equal(error, null);
    assert.ok(Date.parse(data.user.invited_at));
    assert.equal(data.user.user_metadata.team, 'red');
    const m = await mail.mailTo(email);
    const auth = newClient(server);
    const accepted = await auth.verifyOtp({ token_hash: m.token, type: 'invite' });
    assert.equal(accepted.error, null);
    assert.equal(accepted.data.user.id, data.user.id);
    assert.equal((await auth.updateUser({ password: 'my own password' })).error, null);
    assert.equal((await newClient(server).signInWithPassword({ email, password: 'my own password' })).error, null);
    refused(await admin.inviteUserByEmail(email), 'email_exists', 422);

    const second = someone();
    await admin.inviteUserByEmail(second, { redirectTo: 'https://app.example.com/hello' });
    const to = await follow((await mail.mailTo(second)).link);
    assert.equal(to.base, 'https://app.example.com/hello');
    assert.equal(to.fragment.get('type'), 'invite');
    assert.ok(to.fragment.get('access_token'));
  });

  // Mission: T11
  test('ends the sessions of a user whose token it holds', async () => {
    const user = await made();
    const [a, b] = [newClient(server), newClient(server)];
    for (const c of [a, b]) await c.signInWithPassword({ email: user.email, password: PASSWORD });
    const jwt = (await a.getSession()).data.session.access_token;
    assert.equal((await admin.signOut(jwt, 'others')).error, null);
    assert.equal((await a.getUser()).error, null);
    assert.ok(isAuthSessionMissingError((await b.getUser()).error));
    await b.signInWithPassword({ email: user.email, password: PASSWORD });
    assert.equal((await admin.signOut(jwt, 'local')).error, null);
    assert.ok(isAuthSessionMissingError((await a.getUser()).error));
    assert.equal((await b.getUser()).error, null);
    const { access_token } = (await b.getSession()).data.session;
    assert.equal((await admin.signOut(access_token)).error, null);
    assert.ok(isAuthSessionMissingError((await newClient(server).getUser(access_token)).error));
    refused(await admin.signOut('rubbish'), 'bad_jwt', 403);
  });
});

describe('a link for an operator to deliver', () => {
  // every link must work, say what it is, and be mailed to nobody
  async function link(params) {
    const { data, error } = await admin.generateLink({ ...params, options: { redirectTo: 'https://app.example.com/x', ...params.options } });
    assert.equal(error, null);
    const p = data.properties;
    assert.ok(p.action_link.startsWith(`${server.url}/verify?`), p.action_link);
    assert.ok(p.action_link.includes(p.hashed_token));
    assert.equal(p.redirect_to, 'https://app.example.com/x');
    assert.match(p.email_otp, /^\d{6}$/);
    return { ...p, user: data.user };
  }

  test('signs up', async () => {
    const email = someone();
    const l = await link({ type: 'signup', email, password: PASSWORD, options: { data: { full_name: 'Ann' } } });
    assert.equal(l.verification_type, 'signup');
    assert.equal(l.user.user_metadata.full_name, 'Ann');
    assert.equal(await mail.countTo(email, server.url), 0);
    refused(await newClient(server).signInWithPassword({ email, password: PASSWORD }), 'email_not_confirmed', 400);
    const to = await follow(l.action_link);
    assert.equal(to.base, 'https://app.example.com/x');
    assert.equal(to.fragment.get('type'), 'signup');
    assert.equal((await newClient(server).signInWithPassword({ email, password: PASSWORD })).error, null);
    refused(await admin.generateLink({ type: 'signup', email, password: PASSWORD }), 'email_exists', 422);
  });

  test('invites', async () => {
    const l = await link({ type: 'invite', email: someone() });
    assert.equal(l.verification_type, 'invite');
    assert.ok(Date.parse(l.user.invited_at));
    const { data, error } = await newClient(server).verifyOtp({ token_hash: l.hashed_token, type: 'invite' });
    assert.equal(error, null);
    assert.equal(data.user.id, l.user.id);
  });

  test('signs in', async () => {
    const user = await made();
    const l = await link({ type: 'magiclink', email: user.email });
    assert.equal(l.verification_type, 'magiclink');
    const { data, error } = await newClient(server).verifyOtp({ email: user.email, token: l.email_otp, type: 'email' });
    assert.equal(error, null);
    assert.equal(data.user.id, user.id);
  });

  test('signs an unknown address up instead of in', async () => {
    const l = await link({ type: 'magiclink', email: someone() });
    assert.equal(l.verification_type, 'signup');
    const { data, error } = await newClient(server).verifyOtp({ token_hash: l.hashed_token, type: 'signup' });
    assert.equal(error, null);
    assert.equal(data.user.id, l.user.id);
  });

  // Mission: P04
  test('recovers', async () => {
    const user = await made();
    const l = await link({ type: 'recovery', email: user.email });
    assert.equal(l.verification_type, 'recovery');
    const to = await follow(l.action_link);
    assert.equal(to.fragment.get('type'), 'recovery');
    refused(await admin.generateLink({ type: 'recovery', email: someone() }), 'user_not_found', 404);
  });

  test('changes an address, from both sides', async () => {
    const user = await made();
    const newEmail = someone('new');
    const current = await link({ type: 'email_change_current', email: user.email, newEmail });
    assert.equal(current.verification_type, 'email_change_current');
    const next = await link({ type: 'email_change_new', email: user.email, newEmail });
    assert.equal(next.verification_type, 'email_change_new');
    const auth = newClient(server);
    const first = await auth.verifyOtp({ token_hash: current.hashed_token, type: 'email_change' });
    assert.equal(first.error, null);
    assert.equal(first.data.session, null);
    const second = await auth.verifyOtp({ token_hash: next.hashed_token, type: 'email_change' });
    assert.equal(second.error, null);
    assert.equal(second.data.user.email, newEmail);
  });

  // Mission: U06
  test('changes an address behind the links, and by their codes', async () => {
    for (const use of [
      async (l) => ((await follow(l.action_link)).fragment.get('access_token') ? 'in' : 'more'),
      async (l, email) => {
        const { data, error } = await newClient(server).verifyOtp({ email, token: l.email_otp, type: 'email_change' });
        assert.equal(error, null);
        return data.session ? 'in' : 'more';
      },
    ]) {
      const user = await made();
      const newEmail = someone('new');
      const current = await link({ type: 'email_change_current', email: user.email, newEmail });
      const next = await link({ type: 'email_change_new', email: user.email, newEmail });
      assert.equal(await use(next, newEmail), 'more');
      assert.equal(await use(current, user.email), 'in');
      assert.equal((await admin.getUserById(user.id)).data.user.email, newEmail);
    }
  });

  test('is of use once, by any of its ways', async () => {
    const user = await made();
    const l = await link({ type: 'magiclink', email: user.email });
    assert.ok((await follow(l.action_link)).fragment.get('access_token'));
    refused(await newClient(server).verifyOtp({ token_hash: l.hashed_token, type: 'magiclink' }), 'otp_expired', 403);
    refused(await newClient(server).verifyOtp({ email: user.email, token: l.email_otp, type: 'email' }), 'otp_expired', 403);
    refused(await admin.generateLink({ type: 'letter', email: user.email }), 'validation_failed', 400);
    assert.equal(await mail.countTo(user.email, server.url), 0);
  });
});

describe('everybody else', () => {
  // Mission: U15, T24
  test('is refused', async () => {
    const user = await made();
    const auth = newClient(server);
    await auth.signInWithPassword({ email: user.email, password: PASSWORD });
    const own = (await auth.getSession()).data.session.access_token;
    const url = `${server.url}/admin/users`;
    assert.equal((await ask('GET', url, { headers: { 'X-Supabase-Api-Version': '2024-01-01' } })).json.code, 'no_authorization');
    refused(await adminWith(server, own).listUsers(), 'not_admin', 403);
    refused(await adminWith(server, own).deleteUser(user.id), 'not_admin', 403);
    refused(await adminWith(server, sign({ role: 'anon' })).listUsers(), 'not_admin', 403);
    refused(await adminWith(server, sign({ role: 'service_role' }, 'another-secret-of-more-than-32-bytes')).listUsers(), 'bad_jwt', 403);
    refused(await adminWith(server, sign({ role: 'service_role', exp: 1 })).listUsers(), 'bad_jwt', 403);
    const key = { iss: 'supabase-demo', ref: 'abcdefghijklmnopqrst', role: 'service_role', iat: 1641769200, exp: 4102444800 };
    assert.equal((await adminWith(server, sign(key)).listUsers()).error, null, 'a key as another server made it');
    assert.equal((await adminWith(server, OPERATOR).listUsers()).error, null, 'the operator token is the operator’s');
  });
});
