// Solves the proof of work that the server asks for, and resolves with the
// token to hand on: supabase.auth.signUp({ …, options: { captchaToken } }).
// base is the address of the server. A page with a Content-Security-Policy
// needs worker-src blob: to stay quite smooth; without it, it only stays alive.
export async function solve(base) {
  const answer = await fetch(base.replace(/\/+$/, "") + "/captcha", { cache: "no-store", credentials: "omit" })
  if (!answer.ok) throw new Error("captcha: the server answered " + answer.status)
  const { challenge, bits } = await answer.json()
  if (typeof challenge !== "string" || !(bits >= 0 && bits <= 32)) throw new Error("captcha: not a challenge")
  const nonce = await inWorker(challenge, bits).catch(() => inChunks(challenge, bits))
  return "pow." + challenge + "." + nonce
}

async function inWorker(challenge, bits) {
  const source = `const step = (${search})(${JSON.stringify(challenge)}, ${+bits})
    for (let nonce; !nonce;) if (nonce = step(1e5)) postMessage(nonce)`
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }))
  let worker
  try {
    worker = new Worker(url)
    return await new Promise((found, failed) => {
      worker.onmessage = e => found(e.data)
      worker.onerror = failed
    })
  } finally {
    worker?.terminate()
    URL.revokeObjectURL(url)
  }
}

async function inChunks(challenge, bits) {
  const step = search(challenge, bits)
  for (let nonce; ; await new Promise(done => setTimeout(done))) if (nonce = step(1e4)) return nonce
}

// search returns a function that tries so many more nonces, and returns the
// one that solves it, or nothing. The worker is made of its text, so it names
// nothing outside of itself. SHA-256 is written out (FIPS 180-4), because
// crypto.subtle answers each of a hundred thousand calls later.
function search(challenge, bits) {
  const H = [], K = [] // the first 32 bits of roots of primes
  for (let n = 2; K.length < 64; n++) {
    let d = 2
    while (n % d) d++
    if (d < n) continue // n is no prime
    if (H.length < 8) H.push((Math.sqrt(n) % 1) * 2 ** 32 | 0)
    K.push((Math.cbrt(n) % 1) * 2 ** 32 | 0)
  }
  const w = new Int32Array(64)
  const turn = (x, n) => x >>> n | x << 32 - n
  const hash = from => { // the block in w[0] to w[15]
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2]
      w[i] = w[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ x >>> 3) + w[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ y >>> 10)
    }
    let [a, b, c, d, e, f, g, h] = from
    for (let i = 0; i < 64; i++) {
      const t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + K[i] + w[i] | 0
      const u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0
      h = g, g = f, f = e, e = d + t | 0, d = c, c = b, b = a, a = t + u | 0
    }
    return [a, b, c, d, e, f, g, h].map((x, i) => x + from[i] | 0)
  }
  const size = challenge.length
  const byte = i => i < size ? challenge.charCodeAt(i) : i === size ? 0x80 : 0
  let seed = H
  for (let at = 0; at < size + 9; at += 64) {
    for (let i = 0; i < 16; i++) for (let j = 0; j < 4; j++) w[i] = w[i] << 8 | byte(at + 4 * i + j)
    if (at + 64 >= size + 9) w[15] = 8 * size
    seed = hash(seed)
  }
  w.set([...seed, 0, 0, 1 << 31, 0, 0, 0, 0, 320]) // seed, nonce, end of 40 bytes
  let nonce = 0
  return tries => {
    for (const end = nonce + tries; nonce < end; nonce++) {
      w[8] = nonce / 2 ** 32, w[9] = nonce
      if (Math.clz32(hash(H)[0]) >= bits) return nonce.toString(16).padStart(16, "0")
    }
  }
}
