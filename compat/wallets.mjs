// Wallets without a window: what a page finds as window.ethereum and as
// window.solana, as far as a sign-in calls it.

import { generateKeyPairSync, sign } from 'node:crypto';
import { secp256k1 } from '@noble/curves/secp256k1';
import { keccak_256 } from '@noble/hashes/sha3';

const hex = (bytes) => `0x${Buffer.from(bytes).toString('hex')}`;

// ethereumWallet is an account of Ethereum (EIP-1193, and EIP-191 for what it
// signs).
export function ethereumWallet() {
  const key = secp256k1.utils.randomPrivateKey();
  const address = checksummed(keccak_256(secp256k1.getPublicKey(key, false).slice(1)).slice(-20));
  const wallet = {
    address,
    sign(message) {
      const text = Buffer.from(message);
      const hash = keccak_256(Buffer.concat([Buffer.from(`\x19Ethereum Signed Message:\n${text.length}`), text]));
      const s = secp256k1.sign(hash, key);
      return hex([...s.toCompactRawBytes(), 27 + s.recovery]);
    },
    async request({ method, params }) {
      switch (method) {
        case 'eth_requestAccounts':
          return [address.toLowerCase()];
        case 'eth_chainId':
          return '0x1';
        case 'personal_sign':
          return wallet.sign(Buffer.from(params[0].slice(2), 'hex'));
      }
      throw new Error(`the wallet does not know ${method}`);
    },
  };
  return wallet;
}

// checksummed is an address as EIP-55 writes it.
function checksummed(account) {
  const digits = Buffer.from(account).toString('hex');
  const hash = Buffer.from(keccak_256(Buffer.from(digits))).toString('hex');
  return `0x${[...digits].map((c, n) => (parseInt(hash[n], 16) > 7 ? c.toUpperCase() : c)).join('')}`;
}

// solanaWallet is an account of Solana, of a wallet that signs whatever text it is
// given: the older ones do.
export function solanaWallet() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const address = base58(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
  return {
    address,
    publicKey: { toBase58: () => address },
    signMessage: async (bytes) => new Uint8Array(sign(null, bytes, privateKey)),
  };
}

// writing makes of such a wallet one that writes the text by itself.
export const writing = ({ signMessage, ...wallet }) => ({
  ...wallet,
  async signIn({ domain, uri, version, issuedAt, statement }) {
    const lines = [`${domain} wants you to sign in with your Solana account:`, wallet.address, '', ...(statement ? [statement, ''] : [])];
    const text = new TextEncoder().encode([...lines, `URI: ${uri}`, `Version: ${version}`, `Issued At: ${issuedAt}`].join('\n'));
    return { signedMessage: text, signature: await signMessage(text) };
  },
});

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function base58(bytes) {
  let text = '';
  for (let n = BigInt(hex(bytes)); n > 0n; n /= 58n) text = ALPHABET[Number(n % 58n)] + text;
  return '1'.repeat(bytes.findIndex((b) => b !== 0)) + text;
}
