// What every test here needs: the server, a mailbox, a browser's manners.
// Begin reading at startServer and startMail. Nothing in here knows how the
// server works inside, and no client is changed.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';

export { sleep };

export const SITE = 'http://localhost:3000';
export const FROM = 'gatehouse@example.org';
export const OPERATOR = '0123456789abcdef0123456789abcdef';
export const SECRET = 'a-secret-of-more-than-thirty-two-bytes';
export const PASSWORD = 'correct horse 1';

// What browsers call themselves: a mailed link that is opened in another one
// than where it was asked for ends differently.
export const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36';
export const FIREFOX = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0';

// binary is a program of ours, built if nobody names one in the environment.
const built = new Map();
export function binary(variable, folder) {
  if (process.env[variable]) return process.env[variable];
  if (!built.has(folder)) {
    const dir = mkdtempSync(join(tmpdir(), 'gatehouse-bin-'));
    process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
    built.set(folder, join(dir, 'program'));
    execFileSync('go', ['build', '-o', built.get(folder), folder], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      env: { ...process.env, CGO_ENABLED: '0' },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }
  return built.get(folder);
}

// startServer runs the server in a folder of its own, on a free port, with
// nothing of our own environment but what it needs to run at all. mail is what
// startMail returned; settings are added to the common ones.
export async function startServer(mail, settings = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'gatehouse-'));
  const child = spawn(binary('GATEHOUSE_BIN', '../cmd/gatehouse'), ['serve'], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: dir,
      GATEHOUSE_DATA: join(dir, 'data'),
      GATEHOUSE_PORT: '0',
      GATEHOUSE_RATE_LIMITS: 'off',
      // The names other servers of this kind read must work unchanged.
      GOTRUE_SITE_URL: SITE,
      GOTRUE_URI_ALLOW_LIST: 'https://*.example.com/**',
      GOTRUE_SMTP_HOST: '127.0.0.1',
      GOTRUE_SMTP_PORT: String(mail.port),
      GOTRUE_SMTP_ADMIN_EMAIL: FROM,
      GOTRUE_SMTP_MAX_FREQUENCY: '2s',
      GOTRUE_OPERATOR_TOKEN: OPERATOR,
      ...settings,
    },
  });
  let out = '';
  let log = '';
  child.stderr.on('data', (b) => {
    log += b;
    if (process.env.COMPAT_LOG) process.stderr.write(b);
  });
  const exited = once(child, 'exit');
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the server told no address within 20 s:\n${out}${log}`)), 20_000);
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}:\n${out}${log}`)));
    child.on('error', reject);
    child.stdout.on('data', (b) => {
      out += b;
      const m = out.match(/http:\/\/127\.0\.0\.1:\d+/);
      if (m) {
        clearTimeout(late);
        resolve(m[0]);
      }
    });
  }).catch((err) => {
    child.kill('SIGKILL');
    throw err;
  });
  return {
    url,
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const [code, signal] = await exited;
      clearTimeout(kill);
      rmSync(dir, { recursive: true, force: true });
      assert.equal(code ?? signal, 0, `the server did not end well:\n${log.slice(-4000)}`);
    },
  };
}

// startMail runs a mail server and keeps what it is sent.
export async function startMail() {
  const box = [];
  let arrived = () => {};
  let next = new Promise((r) => (arrived = r));
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    logger: false,
    onData(stream, session, done) {
      simpleParser(stream).then((m) => {
        for (const { address } of session.envelope.rcptTo) box.push(read(m, address, box.length + 1));
        const ring = arrived;
        next = new Promise((r) => (arrived = r));
        ring();
        done();
      }, done);
    },
  });
  server.on('error', () => {}); // a client that hangs up is no matter of ours
  await new Promise((r) => server.listen(0, '127.0.0.1', r));

  const matching = (address, after, about) =>
    box.filter((m) => m.to === address.toLowerCase() && m.seq > seqOf(after) && (!about || about.test(m.subject)));
  return {
    port: server.server.address().port,
    // mailTo waits for the first mail to an address that came after another
    // one (a mail, or nothing), and whose subject is about something.
    async mailTo(address, { after = 0, about, within = 10_000 } = {}) {
      const end = Date.now() + within;
      for (;;) {
        const [m] = matching(address, after, about);
        if (m) return m;
        const left = end - Date.now();
        if (left <= 0) {
          throw new Error(`no mail to ${address}; there were: ${box.map((m) => `${m.to}: ${m.subject}`).join(', ')}`);
        }
        await Promise.race([next, sleep(left, undefined, { ref: false })]);
      }
    },
    // countTo says how many mails an address has got, once a mail that was
    // asked for later, on the same server, has come.
    async countTo(address, url, { after = 0, about } = {}) {
      const last = someone('sentinel');
      const res = await fetch(`${url}/otp`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ email: last }),
      });
      assert.equal(res.status, 200, await res.text());
      await this.mailTo(last);
      await sleep(100);
      return matching(address, after, about).length;
    },
    stop: () => new Promise((r) => server.close(r)),
  };
}

// startSMS runs what a server takes for Twilio, and keeps what it is sent.
// Numbers it was told to refuse get Twilio's own words for it.
export async function startSMS() {
  const sid = 'ACcompat';
  const token = 'twilio-token';
  const box = [];
  const refusing = new Set();
  let arrived = () => {};
  let next = new Promise((r) => (arrived = r));
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const part of req) body += part;
    const answer = (status, json) => res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
    const key = Buffer.from(req.headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString();
    if (key !== `${sid}:${token}`) return answer(401, { code: 20003, message: 'Authenticate', status: 401 });
    if (req.method !== 'POST' || req.url !== `/2010-04-01/Accounts/${sid}/Messages.json`) return answer(404, { code: 20404, status: 404 });
    const form = new URLSearchParams(body);
    const [, channel = 'sms', to] = form.get('To').match(/^(?:(\w+):)?\+(\d+)$/);
    if (refusing.has(to)) return answer(400, { code: 21211, message: "The 'To' number is not a valid phone number.", status: 400 });
    const text = form.get('Body') ?? '';
    box.push({ seq: box.length + 1, to, channel, service: form.get('MessagingServiceSid'), text, code: text.match(/\b\d{6,10}\b/)?.[0] });
    const ring = arrived;
    next = new Promise((r) => (arrived = r));
    ring();
    return answer(201, { sid: `SM${box.length}`, status: 'queued', error_code: null });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  const url = `http://127.0.0.1:${server.address().port}`;
  const matching = (number, after) => box.filter((m) => m.to === number.replace('+', '') && m.seq > seqOf(after));
  return {
    // settings make a server send its text messages here.
    settings: {
      GOTRUE_EXTERNAL_PHONE_ENABLED: 'true',
      GOTRUE_SMS_PROVIDER: 'twilio',
      GOTRUE_SMS_TWILIO_ACCOUNT_SID: sid,
      GOTRUE_SMS_TWILIO_AUTH_TOKEN: token,
      GOTRUE_SMS_TWILIO_MESSAGE_SERVICE_SID: 'MG00000000000000000000000000000000',
      GOTRUE_SMS_MAX_FREQUENCY: '1s',
      GATEHOUSE_SMS_BASE_URL: url,
      GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true',
    },
    refuse: (number) => void refusing.add(number.replace('+', '')),
    accept: (number) => void refusing.delete(number.replace('+', '')),
    countTo: (number, { after = 0 } = {}) => matching(number, after).length,
    async smsTo(number, { after = 0, within = 10_000 } = {}) {
      const end = Date.now() + within;
      for (;;) {
        const [m] = matching(number, after);
        if (m) return m;
        const left = end - Date.now();
        if (left <= 0) throw new Error(`no text message to ${number}; there were: ${box.map((m) => m.to).join(', ')}`);
        await Promise.race([next, sleep(left, undefined, { ref: false })]);
      }
    },
    stop: () => new Promise((r) => server.close(r)),
  };
}

const seqOf = (m) => (typeof m === 'number' ? m : m.seq);

function read(m, to, seq) {
  const html = m.html || '';
  const text = m.text || '';
  const links = [...html.matchAll(/href="([^"]+)"/g)].map(([, l]) => unescape(l));
  const link = links.find((l) => /[?&#](\w+_)?token=/.test(l));
  return {
    seq,
    to: to.toLowerCase(),
    from: m.from?.value[0]?.address,
    subject: m.subject,
    html,
    text,
    links,
    link,
    code: text.match(/code:\s*(\d{6,10})\b/)?.[1],
    token: link?.match(/[?&#](?:\w+_)?token=([^&]+)/)?.[1],
  };
}

const unescape = (s) =>
  s.replace(/&(amp|lt|gt|quot|#39|#34|#43|#x2b);/gi, (_, e) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'", '#34': '"' })[e.toLowerCase()] ?? '+');

// someone is an address nobody has had before.
export const someone = (name = 'ann') => `${name}-${randomBytes(6).toString('hex')}@example.org`;

// somebodysNumber is a German mobile number nobody has had before.
export const somebodysNumber = () => `+49151${String(randomBytes(4).readUInt32BE() % 100_000_000).padStart(8, '0')}`;

// ask is one HTTP request as it is, with no header of a fetch client's making.
export function ask(method, url, { headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request(url, { method, headers, agent: false }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (s) => (text += s));
      res.on('end', () => {
        let json;
        try {
          json = JSON.parse(text);
        } catch {
          // not every answer is JSON
        }
        resolve({ status: res.statusCode, headers: res.headers, text, json });
      });
    });
    req.on('error', reject);
    if (body !== undefined) {
      req.setHeader('Content-Length', Buffer.byteLength(body));
      req.write(body);
    }
    req.end();
  });
}

export const askJSON = (method, url, body, headers = {}) =>
  ask(method, url, { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });

// openLink is what a browser does with a mailed link: it shows the page.
export async function openLink(link, { agent = CHROME } = {}) {
  const res = await ask('GET', link, {
    headers: { Accept: 'text/html', 'User-Agent': agent, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' },
  });
  return { ...res, url: link, agent, form: formOf(res.text, link) };
}

// formOf is the first form of a page.
export function formOf(html, base) {
  const m = html.match(/<form\b([^>]*)>([\s\S]*?)<\/form>/i);
  if (!m) return null;
  const attr = (tag, name) => {
    const a = tag.match(new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i'));
    return a && unescape(a[1] ?? a[2] ?? a[3]);
  };
  const fields = new URLSearchParams();
  for (const [, tag] of m[2].matchAll(/<(?:input|button)\b([^>]*)>/gi)) {
    const name = attr(tag, 'name');
    if (name) fields.append(name, attr(tag, 'value') ?? '');
  }
  return { method: (attr(m[1], 'method') ?? 'get').toUpperCase(), action: new URL(attr(m[1], 'action') || base, base).href, fields };
}

// press is what a browser does when the button on such a page is pressed. It
// returns where the browser is sent.
export async function press(page) {
  const res = await submit(page);
  assert.equal(res.status, 303, `the button led to ${res.status}: ${res.text.slice(0, 600)}`);
  return landing(res.headers.location);
}

// landing is an address that a browser is sent to, in its parts.
export function landing(address) {
  const to = new URL(address);
  return { href: to.href, base: to.origin + to.pathname, query: to.searchParams, fragment: new URLSearchParams(to.hash.slice(1)) };
}

// submit sends the form of such a page and returns the answer.
export async function submit(page) {
  assert.ok(page.form, `no form on the page (${page.status}): ${page.text.slice(0, 600)}`);
  assert.equal(page.form.method, 'POST');
  const origin = new URL(page.url).origin;
  const cookies = (page.headers['set-cookie'] ?? []).map((c) => c.split(';')[0]).join('; ');
  return ask('POST', page.form.action, {
    headers: {
      Accept: 'text/html',
      'User-Agent': page.agent,
      'Content-Type': 'application/x-www-form-urlencoded',
      Origin: origin,
      'Sec-Fetch-Site': 'same-origin',
      'Sec-Fetch-Mode': 'navigate',
      'Sec-Fetch-Dest': 'document',
      ...(cookies && { Cookie: cookies }),
    },
    body: page.form.fields.toString(),
  });
}

// follow opens a mailed link and presses the button.
export const follow = async (link, browser) => press(await openLink(link, browser));

// memory is a browser's storage without a browser.
export function memory() {
  const m = new Map();
  return {
    getItem: (k) => m.get(k) ?? null,
    setItem: (k, v) => void m.set(k, String(v)),
    removeItem: (k) => void m.delete(k),
  };
}

const b64 = (v) => Buffer.from(typeof v === 'string' ? v : JSON.stringify(v)).toString('base64url');

// sign makes a token with the shared secret, as an operator's own server does.
export function sign(claims, secret = SECRET) {
  const head = `${b64({ alg: 'HS256', typ: 'JWT' })}.${b64(claims)}`;
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
}

// decode reads a token without checking it.
export function decode(jwt) {
  const [header, payload, signature] = jwt.split('.');
  const json = (s) => JSON.parse(Buffer.from(s, 'base64url'));
  return { header: json(header), claims: json(payload), signed: `${header}.${payload}`, signature };
}
