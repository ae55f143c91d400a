// A real browser for the clients that live in one: a site to visit, Chromium,
// and people who use it. Begin reading at startSite and startChromium. What
// browser.mjs pretends, this has.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { ELSEWHERE } from './elsewhere.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };

// startSite serves one page of the folder site, at every path, and the
// packages as npm installed them below /node_modules/. The page finds what
// tell was given in the global config. It is called localhost and the server
// 127.0.0.1, so to the browser they are two sites.
export async function startSite(page) {
  let config = {};
  const server = http.createServer(async (req, res) => {
    const { pathname } = new URL(req.url, 'http://site.invalid');
    let file = join(here, 'site', page);
    let body;
    if (pathname === '/favicon.ico') return res.writeHead(204).end();
    if (pathname === '/config.js') [file, body] = ['config.js', `const config = ${JSON.stringify(config)};`];
    else if (pathname.startsWith('/node_modules/')) file = join(here, pathname);
    try {
      body ??= await readFile(file);
      res.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream', 'Cache-Control': 'no-store' }).end(body);
    } catch (err) {
      res.writeHead(404).end(err.code);
    }
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  return {
    url: `http://localhost:${server.address().port}`,
    tell: (more) => void (config = { ...config, ...more }),
    stop: () => new Promise((r) => server.close(r).closeAllConnections()),
  };
}

// Names but these do not even resolve, so a page that asks for one fails its test
// instead of depending on the network.
const known = ['localhost', '127.0.0.1', ELSEWHERE];

// The test provider's pages have no icon, and Chromium asks for one at times.
const noIcon = new RegExp(`^http://${ELSEWHERE}:\\d+/favicon\\.ico$`);

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-proxy-server',
  `--host-resolver-rules=MAP * ~NOTFOUND, ${known.map((h) => `EXCLUDE ${h}`).join(', ')}`,
];

// startChromium starts Debian's Chromium, or what CHROMIUM names.
export async function startChromium() {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), `no browser at ${executablePath} (Debian: apt-get install chromium; else set CHROMIUM)`);
  const browser = await chromium.launch({ executablePath, args: flags, chromiumSandbox: false });
  return {
    // person is somebody with a browser that has never been anywhere. It is
    // closed when the test ends, which fails if a page threw, wrote an error to
    // the console, or asked for another host. options are Playwright's of a
    // context: viewport, colorScheme, …
    person: (t, options) => person(browser, t, options),
    stop: () => browser.close(),
  };
}

async function person(browser, t, options) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const faults = [];
  const expected = [];
  const fault = (text) => {
    const wanted = expected.find((e) => e.pattern.test(text));
    if (wanted) wanted.seen = true;
    else faults.push(text);
  };
  const asked = (url) => {
    const { protocol, hostname } = new URL(url);
    if (/^(https?|wss?):$/.test(protocol) && !known.includes(hostname)) fault(`asked for ${url}`);
  };
  context.on('console', (m) => m.type() === 'error' && !noIcon.test(m.location().url) && fault(`console: ${m.text()} (${m.location().url})`));
  context.on('weberror', (e) => fault(`uncaught: ${e.error().stack ?? e.error()}`));
  context.on('request', (r) => asked(r.url()));
  context.on('page', (page) => {
    page.on('websocket', (s) => asked(s.url()));
    page.on('crash', () => fault(`crashed: ${page.url()}`));
  });
  t.after(async () => {
    for (const [n, page] of context.pages().entries()) await shot(page, `${t.fullName} ${n + 1}`);
    await context.close();
    assert.deepEqual(faults, [], 'what the browser had to complain of');
    assert.deepEqual(expected.filter((e) => !e.seen).map((e) => e.pattern), [], 'complaints that were expected and did not come');
  });

  return {
    context,
    // expects names a complaint that belongs to the test: Chromium writes every
    // answer of 400 and more to the console. It must come.
    expects: (pattern) => void expected.push({ pattern, seen: false }),
    // visit opens an address in a new tab.
    async visit(url) {
      const page = await context.newPage();
      await page.goto(url);
      return page;
    },
    // read opens a mail in a tab, as a mailbox on the web does, clicks its
    // button, and returns the tab with what came.
    async read(m) {
      const page = await context.newPage();
      await page.setContent(m.html);
      await shot(page, `${t.fullName} mail ${m.seq}`);
      const link = page.locator(`a[href=${JSON.stringify(m.link)}]`);
      const opens = (await link.getAttribute('target')) === '_blank';
      const [came] = await Promise.all([opens ? page.waitForEvent('popup') : page, link.click()]);
      await came.waitForURL((url) => url.protocol === 'http:');
      return came;
    },
  };
}

// shot keeps a picture of a page if COMPAT_SHOTS names a folder for them.
export async function shot(page, name) {
  const dir = process.env.COMPAT_SHOTS;
  if (!dir || page.isClosed()) return;
  mkdirSync(dir, { recursive: true });
  await page.screenshot({ path: join(dir, `${name.replace(/[^\p{L}\p{N}]+/gu, '-')}.png`) });
}
