// The few things of a browser that Netlify's clients touch. They make no
// request by themselves; the clients' own do, with Node's fetch.

import { memory } from './harness.mjs';

// asBrowser puts a browser at an origin into the global scope and returns what
// a test wants to look at. leave takes it away again.
export function asBrowser(origin) {
  const jar = new Map();
  const location = { origin, pathname: '/', search: '', hash: '', href: `${origin}/` };
  const document = {
    get cookie() {
      return [...jar].map(([k, v]) => `${k}=${v}`).join('; ');
    },
    set cookie(line) {
      const [pair, ...attributes] = line.split(/;\s*/);
      const at = pair.indexOf('=');
      if (attributes.some((a) => /^expires=Thu, 01 Jan 1970/i.test(a))) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    },
  };
  const history = { replaceState: () => void (location.hash = '') };
  const localStorage = memory();
  const window = { location, document, history, localStorage, atob, addEventListener() {}, removeEventListener() {} };
  Object.assign(globalThis, { window, document, history, localStorage });
  return {
    jar,
    location,
    localStorage,
    leave() {
      for (const name of ['window', 'document', 'history', 'localStorage']) delete globalThis[name];
    },
  };
}

// letGo lets the process end although a client has set a timer of half a
// minute, as gotrue-js does for every refresh.
export function letGo() {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (f, ms, ...args) => {
    const timer = setTimeout(f, ms, ...args);
    return ms >= 30_000 ? timer.unref() : timer;
  };
}

// hushHTTP keeps the clients from warning, once for each client, that the
// address of a test server is not https.
export function hushHTTP() {
  const { warn } = console;
  console.warn = (...args) => {
    if (!/DO NOT USE HTTP/.test(String(args[0]))) warn(...args);
  };
}

// watchFetch records what the clients send and get. It changes nothing.
export function watchFetch() {
  const seen = [];
  const real = globalThis.fetch;
  globalThis.fetch = async (url, init = {}) => {
    const res = await real(url, init);
    const { pathname } = new URL(String(url));
    const headers = Object.fromEntries(Object.entries(init.headers ?? {}).map(([k, v]) => [k.toLowerCase(), v]));
    seen.push({ method: init.method ?? 'GET', path: pathname, headers, status: res.status, cookies: res.headers.getSetCookie() });
    return res;
  };
  return seen;
}
