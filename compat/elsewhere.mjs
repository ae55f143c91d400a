// Where people have accounts that are not ours: a test identity provider
// (compat/idp), and the browser that walks between it and the server. Begin
// reading at startIdP and newVisitor.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { CHROME, ask, askJSON, binary, formOf, landing, someone } from './harness.mjs';

// To a browser the server is 127.0.0.1, a site is localhost, and this is a third.
export const ELSEWHERE = '127.0.0.2';

const CLIENT = 'gatehouse-under-test';
const KEY = 'what only we and the provider know';

// startIdP runs the provider. It is every vendor at once, and with the flag -saml
// a company, too. People are asked on a page with two buttons; with -auto they
// are not.
export async function startIdP(...flags) {
  const child = spawn(binary('COMPAT_IDP_BIN', './idp'), ['-addr', `${ELSEWHERE}:0`, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface(child.stdout);
  const [line] = await Promise.race([
    once(lines, 'line'),
    exited.then(([code]) => assert.fail(`the provider ended with ${code}`)),
    once(child, 'error').then(([err]) => assert.fail(err)),
  ]);
  const { url, vendors, saml } = JSON.parse(line);

  // order tells the provider what to be like: compat/idp/main.go lists the words.
  async function order(what, at = url) {
    const res = await askJSON('POST', `${at}/_control`, what);
    assert.ok(res.status < 300, res.text);
    return res.json;
  }

  return {
    url,
    vendors,
    saml,
    order,
    tellCompany: (what) => order(what, saml.url),

    // person is somebody who has an account with every vendor, and is signed in
    // there. They come with newVisitor(person), or by an ID token.
    async person(more = {}) {
      const who = { subject: String(randomInt(1e9, 1e10)), email: someone('far'), name: 'Ann Lee', username: 'annie', ...more };
      await order({ person: who });
      return who;
    },
    // idToken is one that the vendor has made of a person for an application.
    idToken: async (person, { vendor = 'google', client = CLIENT, ...more } = {}) =>
      (await order({ person, id_token: { vendor, client, ...more } })).id_token,
    // asked are the requests that have come to a vendor.
    asked: async (vendor, what) => (await ask('GET', `${url}/_requests`)).json.filter((r) => r.vendor === vendor && r.what === what),

    // settings let people of these vendors into a server.
    async settings(...names) {
      const { apple } = await order({ client: { id: CLIENT, secret: KEY, redirects: [] }, apple: CLIENT });
      const list = names.map((name) => [`GOTRUE_EXTERNAL_${name.toUpperCase()}`, vendors[name].base]);
      return {
        GATEHOUSE_OUTGOING_ALLOW_PRIVATE: 'true',
        ...Object.fromEntries(list.flatMap(([key, base]) => [[`${key}_ENABLED`, 'true'], [`${key}_CLIENT_ID`, CLIENT], [`${key}_SECRET`, KEY], [`${key}_URL`, base], [`${key}_API_URL`, base]])),
        ...(names.includes('apple') && {
          GOTRUE_EXTERNAL_APPLE_SECRET: '',
          GOTRUE_EXTERNAL_APPLE_TEAM_ID: apple.team_id,
          GOTRUE_EXTERNAL_APPLE_KEY_ID: apple.key_id,
          GOTRUE_EXTERNAL_APPLE_PRIVATE_KEY: apple.private_key,
        }),
      };
    },
    // registers makes servers known to the provider, by the places their people
    // come back to.
    registers: (...servers) =>
      order({ client: { id: CLIENT, secret: KEY, redirects: servers.flatMap((s) => [`${s.url}/callback`, `${s.url}/.netlify/identity/callback`]) } }),
    client: { id: CLIENT, secret: KEY },

    async stop() {
      child.kill('SIGTERM');
      await exited;
      lines.close();
    },
  };
}

// newVisitor is a browser as far as redirects and cookies go, in the hands of
// somebody who is signed in at the provider.
export function newVisitor(person) {
  const jar = new Map(); // of hosts: cookies know no ports (RFC 6265 §8.5)
  const cookies = (host) => jar.get(host) ?? jar.set(host, new Map()).get(host);
  if (person) cookies(ELSEWHERE).set('idptest_person', person.subject);

  async function request(method, url, headers, form, bare) {
    const held = cookies(url.hostname);
    const res = await ask(method, url, {
      headers: {
        Accept: 'text/html',
        'User-Agent': CHROME,
        'Sec-Fetch-Mode': 'navigate',
        'Sec-Fetch-Dest': 'document',
        'Sec-Fetch-Site': 'cross-site',
        ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }),
        // A POST that another site makes brings no cookies that are Lax.
        ...(held.size > 0 && !bare && { Cookie: [...held].map((pair) => pair.join('=')).join('; ') }),
        ...headers,
      },
      body: form?.toString(),
    });
    for (const line of res.headers['set-cookie'] ?? []) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      if (/max-age=(0|-\d+)\b/i.test(line)) held.delete(name);
      else held.set(name, value);
    }
    return res;
  }

  const ours = (url) => /^127\.0\.0\.\d+$/.test(url.hostname);

  // walk goes on from an answer to where it leaves for the site, or to a page that
  // asks something. until stops it before an address is visited.
  async function walk(res, url, { answer, until }) {
    for (let n = 0; n < 20; n++) {
      const { location } = res.headers;
      if (res.status >= 300 && res.status < 400 && location) {
        const next = new URL(location, url);
        if (!ours(next) || until?.test(next.href)) return landing(next);
        [url, res] = [next, await request('GET', next)];
        continue;
      }
      const form = res.status === 200 && formOf(res.text, url);
      if (form && answer && /name="decision"/.test(res.text)) {
        url = new URL(form.action);
        res = await request('POST', url, { Origin: url.origin, 'Sec-Fetch-Site': 'same-origin' }, new URLSearchParams({ decision: answer }));
      } else if (form && /\.submit\(\)/.test(res.text)) {
        const from = url.origin;
        url = new URL(form.action);
        if (until?.test(url.href)) return { form };
        res = await request('POST', url, { Origin: from }, form.fields, true);
      } else {
        return { ...res, url: url.href, agent: CHROME, form };
      }
    }
    return assert.fail(`led in a circle, at last to ${url}`);
  }

  return {
    // go visits an address, and all that follows. On the provider's page it presses
    // the button answer, «allow» or «deny». It returns where it was sent on to the
    // site, in the parts that press has, or the page where it stopped.
    async go(address, { from, answer = 'allow', until } = {}) {
      const url = new URL(address);
      return walk(await request('GET', url, from && { Referer: `${new URL(from).origin}/` }), url, { answer, until });
    },
    // press is the button of a page that go has stopped at.
    async press(page, { answer = 'allow', until } = {}) {
      assert.ok(page.form, `no form on the page (${page.status}): ${page.text?.slice(0, 600)}`);
      const url = new URL(page.form.action);
      const { origin } = new URL(page.url);
      return walk(await request(page.form.method, url, { Origin: origin, 'Sec-Fetch-Site': 'same-origin' }, page.form.fields), url, { answer, until });
    },
  };
}
