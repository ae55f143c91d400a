package web3_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/web3"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/sha3"
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// options take what is for app.example.com and a server at hand.
func options() web3.Options {
	return web3.Options{
		Allowed: func(uri string) bool {
			u, err := url.Parse(uri)
			return err == nil && (u.Scheme == "https" && u.Host == "app.example.com" || u.Host == "localhost:3000")
		},
		MaxAge: 10 * time.Minute,
		Now:    func() time.Time { return now },
	}
}

// wallet signs for one account.
type wallet struct {
	chain, address string
	sign           func(message string) string
}

func keccak(b []byte) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write(b)
	return h.Sum(nil)
}

// ethereum is a wallet whose key is this number. Its address is in lower case.
func ethereum(n byte) wallet {
	key := secp256k1.PrivKeyFromBytes([]byte{n})
	return wallet{
		web3.Ethereum, "0x" + hex.EncodeToString(keccak(key.PubKey().SerializeUncompressed()[1:])[12:]),
		func(message string) string {
			sig := ecdsa.SignCompact(key, keccak(fmt.Appendf(nil, "\x19Ethereum Signed Message:\n%d%s", len(message), message)), false)
			return "0x" + hex.EncodeToString(append(sig[1:], sig[0]))
		},
	}
}

// solana is a wallet whose seed begins with this number.
func solana(n byte) wallet {
	key := ed25519.NewKeyFromSeed(append([]byte{n}, make([]byte, 31)...))
	return wallet{web3.Solana, toBase58(key.Public().(ed25519.PublicKey)), func(message string) string {
		return base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(message)))
	}}
}

func toBase58(b []byte) (s string) {
	n, digit := new(big.Int).SetBytes(b), new(big.Int)
	for n.Sign() > 0 {
		n.DivMod(n, big.NewInt(58), digit)
		s = string("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit.Int64()]) + s
	}
	for i := 0; i < len(b) && b[i] == 0; i++ {
		s = "1" + s
	}
	return s
}

// The texts that auth-js and wallets make, A standing for the address.
const (
	siwe = "app.example.com wants you to sign in with your Ethereum account:\nA\n\n\n" +
		"URI: https://app.example.com/in\nVersion: 1\nChain ID: 1\nIssued At: 2026-03-14T15:09:00.000Z"
	siweFull = "https://app.example.com wants you to sign in with your Ethereum account:\nA\n\nIch stimme zu: 100 %.\n\n" +
		"URI: https://app.example.com/in?a=b#c\nVersion: 1\nChain ID: 137\nNonce: 32891756abc\nIssued At: 2026-03-14T15:09:00+00:00\n" +
		"Expiration Time: 2026-03-14T15:19:00Z\nNot Before: 2026-03-14T15:09:00Z\nRequest ID: a/b\nResources:\n- ipfs://bafybei\n- https://app.example.com/claims.json"
	// What auth-js writes for a wallet that signs any message.
	siwsJS = "app.example.com wants you to sign in with your Solana account:\nA\n\n" +
		"Version: 1\nURI: https://app.example.com/in\nIssued At: 2026-03-14T15:09:00.000Z"
	siwsJSFull = "app.example.com wants you to sign in with your Solana account:\nA\n\nHello there\n\n" +
		"Version: 1\nURI: https://app.example.com/in\nIssued At: 2026-03-14T15:09:00.000Z\nNot Before: 2026-03-14T15:09:00.000Z\n" +
		"Expiration Time: 2026-03-14T15:19:00.000Z\nChain ID: solana:mainnet\nNonce: 32891756\nRequest ID: r\nResources\n- https://a.example/b"
	// What a wallet writes that signs in by itself.
	siws = "app.example.com wants you to sign in with your Solana account:\nA\n\nHello there\n\n" +
		"URI: https://app.example.com/in\nVersion: 1\nChain ID: mainnet\nNonce: 32891756\nIssued At: 2026-03-14T15:09:00.000Z\nResources:\n- https://a.example/b"
)

func (w wallet) text(form string) string {
	return strings.Replace(form, "\nA\n", "\n"+w.address+"\n", 1)
}

func TestJudge_takesWhatClientsSend(t *testing.T) {
	issued := now.Add(-26 * time.Second)
	for _, tc := range []struct {
		name, form string
		w          wallet
		want       web3.Statement
	}{
		{"auth-js, ethereum", siwe, ethereum(7), web3.Statement{URI: "https://app.example.com/in", ChainID: "1"}},
		{"ethereum, all lines", siweFull, ethereum(8), web3.Statement{
			URI: "https://app.example.com/in?a=b#c", ChainID: "137", Nonce: "32891756abc", Statement: "Ich stimme zu: 100 %.",
			ExpiresAt: issued.Add(10 * time.Minute), NotBefore: issued,
		}},
		{"auth-js, solana", siwsJS, solana(1), web3.Statement{URI: "https://app.example.com/in"}},
		{"auth-js, solana, all lines", siwsJSFull, solana(2), web3.Statement{
			URI: "https://app.example.com/in", ChainID: "solana:mainnet", Nonce: "32891756", Statement: "Hello there",
			ExpiresAt: issued.Add(10 * time.Minute), NotBefore: issued,
		}},
		{"a wallet's own, solana", siws, solana(3), web3.Statement{
			URI: "https://app.example.com/in", ChainID: "mainnet", Nonce: "32891756", Statement: "Hello there",
		}},
	} {
		message := tc.w.text(tc.form)
		got, err := web3.Judge(tc.w.chain, message, tc.w.sign(message), options())
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		tc.want.Chain, tc.want.Domain, tc.want.IssuedAt, tc.want.Address = tc.w.chain, "app.example.com", issued, got.Address
		if diff := cmp.Diff(&tc.want, got); diff != "" || !strings.EqualFold(got.Address, tc.w.address) {
			t.Errorf("%s: address %s (-want +got):\n%s", tc.name, got.Address, diff)
		}
	}
}

// A site at work on somebody's own machine has a port, and no https.
func TestJudge_aDomainHasItsPort(t *testing.T) {
	w := ethereum(7)
	for _, domain := range []string{"localhost:3000", "http://LOCALHOST:3000"} {
		message := strings.Replace(strings.Replace(w.text(siwe), "app.example.com", domain, 1), "https://app.example.com", "http://localhost:3000", 1)
		got, err := web3.Judge(w.chain, message, w.sign(message), options())
		if err != nil || got.Domain != "localhost:3000" {
			t.Errorf("%s: got %+v, %v", domain, got, err)
		}
	}
}

// An account is one, however its wallet writes it.
func TestJudge_ethereumAddressesHaveOneForm(t *testing.T) {
	w := ethereum(9)
	message := w.text(siwe)
	got, err := web3.Judge(w.chain, message, w.sign(message), options())
	if err != nil {
		t.Fatal(err)
	}
	if got.Address == w.address {
		t.Fatalf("%s has no checksum", got.Address)
	}
	message = strings.Replace(siwe, "\nA\n", "\n"+got.Address+"\n", 1)
	again, err := web3.Judge(w.chain, message, w.sign(message), options())
	if err != nil {
		t.Fatal(err)
	}
	if again.Address != got.Address {
		t.Errorf("got %s and %s", got.Address, again.Address)
	}
	for i, c := range got.Address[2:] { // of the other case it is no checksum any more
		if c >= '0' && c <= '9' {
			continue
		}
		wrong := got.Address[:2+i] + string(c^0x20) + got.Address[3+i:]
		message = strings.Replace(siwe, "\nA\n", "\n"+wrong+"\n", 1)
		if _, err := web3.Judge(w.chain, message, w.sign(message), options()); wrong != w.address && !errors.Is(err, web3.ErrMessage) {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
}

func TestJudge_takesSignaturesInTheirForms(t *testing.T) {
	eth, sol := ethereum(7), solana(1)
	message := eth.text(siwe)
	sig := eth.sign(message)
	low := map[string]string{"1b": "00", "1c": "01"}[sig[130:]]
	for _, s := range []string{sig, sig[:130] + low, "0x" + strings.ToUpper(sig[2:])} {
		if _, err := web3.Judge(eth.chain, message, s, options()); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	message = sol.text(siws)
	raw, err := base64.RawURLEncoding.DecodeString(sol.sign(message))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if _, err := web3.Judge(sol.chain, message, e.EncodeToString(raw), options()); err != nil {
			t.Errorf("%s: %v", e.EncodeToString(raw), err)
		}
	}
}

// The wallet signs each of these, so only the text is at fault.
func TestJudge_refusesMessagesThatAreNotForUsNow(t *testing.T) {
	for _, tc := range []struct {
		form, old, new string
		want           error
	}{
		{siwe, "https://app.example.com/in", "https://evil.example/in", web3.ErrSite},
		{siwe, "app.example.com", "evil.example", web3.ErrSite}, // both
		{siwe, "app.example.com wants", "evil.example wants", web3.ErrSite},
		{siwe, "app.example.com wants", "app.example.com:444 wants", web3.ErrSite},
		{siwe, "app.example.com wants", "app.example.com.evil.example wants", web3.ErrSite},
		{siwe, "app.example.com wants", "http://app.example.com wants", web3.ErrSite},
		{siwe, "app.example.com wants", "://app.example.com wants", web3.ErrMessage},
		{siwe, "app.example.com wants", " wants", web3.ErrSite},
		{siwe, "URI: https://app.example.com", "URI: https://app.example.com@evil.example", web3.ErrMessage},
		{siwe, "URI: https://app.example.com", "URI: https://evil.example\\@app.example.com", web3.ErrMessage},
		{siwe, "URI: https://app.example.com", "URI: https://%61pp.example.com", web3.ErrMessage},
		{siwe, "URI: https://app.example.com", "URI: //app.example.com", web3.ErrMessage},
		{siwe, "https://app.example.com/in", "https://app.example.com/i n", web3.ErrMessage},
		{siwe, "https://app.example.com/in", "https:app.example.com/in", web3.ErrMessage},
		{siwsJS, "https://app.example.com/in", "https://evil.example/in", web3.ErrSite},
		{siwsJS, "app.example.com wants", "evil.example wants", web3.ErrSite},
		{siwsJS, "app.example.com", "evil.example", web3.ErrSite},

		{siwe, "15:09:00.000Z", "14:59:25Z", web3.ErrTime},
		{siwe, "15:09:00.000Z", "15:10:27Z", web3.ErrTime},
		{siwe, "2026-03-14T15:09:00.000Z", "9999-03-14T15:09:00.000Z", web3.ErrTime},
		{siwe, "2026-03-14T15:09:00.000Z", "0002-01-01T00:00:00Z", web3.ErrTime},
		{siweFull, "Time: 2026-03-14T15:19:00Z", "Time: 2026-03-14T15:09:26Z", web3.ErrTime},
		{siweFull, "Before: 2026-03-14T15:09:00Z", "Before: 2026-03-14T15:10:27Z", web3.ErrTime},
		{siwsJS, "15:09:00.000Z", "14:59:25Z", web3.ErrTime},

		{siwe, "\nIssued At: 2026-03-14T15:09:00.000Z", "", web3.ErrMessage},
		{siwsJS, "\nIssued At: 2026-03-14T15:09:00.000Z", "", web3.ErrMessage},
		{siwe, "2026-03-14T15:09:00.000Z", "", web3.ErrMessage},
		{siwe, "2026-03-14T15:09:00.000Z", "0001-01-01T00:00:00Z", web3.ErrMessage},
		{siwe, "2026-03-14T15:09:00.000Z", "2026-03-14 15:09:00", web3.ErrMessage},
		{siwe, "15:09:00.000Z", "15:09:00,000Z", web3.ErrMessage},
		{siwe, "15:09:00.000Z", "15:09:00.0000000000Z", web3.ErrMessage},
		{siwe, "15:09:00.000Z", "15:09:61Z", web3.ErrMessage},
		{siwe, "Version: 1", "Version: 2", web3.ErrMessage},
		{siwe, "Version: 1\n", "", web3.ErrMessage},
		{siwsJS, "Version: 1\n", "", web3.ErrMessage},
		{siwe, "URI: https://app.example.com/in\n", "", web3.ErrMessage},
		{siwsJS, "URI: https://app.example.com/in\n", "", web3.ErrMessage},
		{siwe, "Chain ID: 1\n", "", web3.ErrMessage},
		{siwe, "Chain ID: 1", "Chain ID: 0x1", web3.ErrMessage},
		{siws, "Chain ID: mainnet", "Chain ID: main net", web3.ErrMessage},
		{siws, "Chain ID: mainnet", "Chain ID: ", web3.ErrMessage},
		{siweFull, "Nonce: 32891756abc", "Nonce: 1234567", web3.ErrMessage},
		{siweFull, "Nonce: 32891756abc", "Nonce: 1234567-", web3.ErrMessage},
		{siweFull, "Nonce: 32891756abc", "Nonce: ", web3.ErrMessage},
		{siws, "Nonce: 32891756", "Nonce: 1234567", web3.ErrMessage},
		{siweFull, "Request ID: a/b", "Request ID: a b", web3.ErrMessage},
		{siweFull, "- ipfs", "ipfs", web3.ErrMessage},
		{siweFull, "- ipfs://bafybei", "- bafybei", web3.ErrMessage},
		{siwe, "URI: https://app.example.com/in\nVersion: 1", "Version: 1\nURI: https://app.example.com/in", web3.ErrMessage},
		{siwe, "Version: 1", "Version: 1\nVersion: 1", web3.ErrMessage},
		{siwsJS, "Version: 1", "Version: 1\nVersion: 1", web3.ErrMessage},
		{siwsJS, "\nIssued", "\nURI: https://app.example.com/in\nIssued", web3.ErrMessage},
		{siwe, "Version: 1", "Version: 1\nColour: red", web3.ErrMessage},
		{siwe, "Version: 1", "Version: 1\n\n", web3.ErrMessage},
		{siwe, "Version: 1", "Version:1", web3.ErrMessage},
		{siwe, "URI: ", "uri: ", web3.ErrMessage},
		{siwe, "00.000Z", "00.000Z\n", web3.ErrMessage},
		{siwe, "00.000Z", "00.000Z\nResources", web3.ErrMessage},
		{siwsJSFull, "\n- https", "\n- https://b\nNonce: 99999999\n- https", web3.ErrMessage},
		{siwe, "\n", "\r\n", web3.ErrMessage},
		{siwsJS, "\n", "\r\n", web3.ErrMessage},
		{siweFull, "Ich", "Ich\r", web3.ErrMessage},
		{siweFull, "Ich", "Ich\x00", web3.ErrMessage},
		{siweFull, "Ich", "Ich\u2028", web3.ErrMessage},
		{siweFull, "Ich", "Ich\xff", web3.ErrMessage},
		{siweFull, "Ich", "Ich\nDu", web3.ErrMessage},
		{siwe, "\n\n\n", "\n\n", web3.ErrMessage},
		{siwe, "\n\n\n", "\n", web3.ErrMessage},
		{siwsJS, "\n\nVersion", "\nVersion", web3.ErrMessage},
		{siwsJS, "\n\nVersion", "\n\n\nVersion", web3.ErrMessage},
		{siwe, "Ethereum account:", "ethereum account:", web3.ErrMessage},
		{siwe, "app.example.com wants", "\napp.example.com wants", web3.ErrMessage},
		{siwe, "Ethereum", "Solana", web3.ErrMessage},
		{siwsJS, "Solana", "Ethereum", web3.ErrMessage},
		{siweFull, "Ich", strings.Repeat("I", 21<<10), web3.ErrMessage},
	} {
		w := ethereum(7)
		if strings.Contains(tc.form, "Solana") {
			w = solana(1)
		}
		changed := strings.ReplaceAll(tc.form, tc.old, tc.new)
		if strings.Contains(tc.old, "wants") || tc.old == "\n\n\n" {
			changed = strings.Replace(tc.form, tc.old, tc.new, 1)
		}
		if changed == tc.form {
			t.Fatalf("%q is not in %q", tc.old, tc.form)
		}
		message := strings.Replace(changed, "\nA", "\n"+w.address, 1)
		if _, err := web3.Judge(w.chain, message, w.sign(message), options()); !errors.Is(err, tc.want) {
			t.Errorf("%q for %q: got %v, want %v", tc.new, tc.old, err, tc.want)
		}
	}
}

func TestJudge_ageHasTwoBounds(t *testing.T) {
	w := ethereum(7)
	message := w.text(siwe)
	sig := w.sign(message)
	issued := time.Date(2026, 3, 14, 15, 9, 0, 0, time.UTC)
	for _, tc := range []struct {
		at   time.Duration
		most time.Duration
		ok   bool
	}{
		{-time.Minute, 0, true},
		{-time.Minute - 1, 0, false},
		{10 * time.Minute, 0, true}, // ten minutes, where nothing is said
		{10*time.Minute + 1, 0, false},
		{time.Minute, time.Minute, true},
		{time.Minute + 1, time.Minute, false},
	} {
		o := options()
		o.MaxAge, o.Now = tc.most, func() time.Time { return issued.Add(tc.at) }
		if _, err := web3.Judge(w.chain, message, sig, o); (err == nil) != tc.ok {
			t.Errorf("%v of %v: got %v", tc.at, tc.most, err)
		}
	}
}

func TestJudge_takesNothingWhereNothingIsAllowed(t *testing.T) {
	w := ethereum(7)
	message := w.text(siwe)
	o := options()
	o.Allowed = nil
	if _, err := web3.Judge(w.chain, message, w.sign(message), o); !errors.Is(err, web3.ErrSite) {
		t.Errorf("got %v", err)
	}
	for _, chain := range []string{"", "Ethereum", "bitcoin", "solana "} {
		if _, err := web3.Judge(chain, message, w.sign(message), options()); !errors.Is(err, web3.ErrChain) {
			t.Errorf("%q: got %v", chain, err)
		}
	}
}

// Any byte of a message counts, and any of its signature.
func TestJudge_refusesAFlippedBit(t *testing.T) {
	for _, w := range []wallet{ethereum(7), solana(1)} {
		message := w.text(map[string]string{web3.Ethereum: siweFull, web3.Solana: siwsJSFull}[w.chain])
		sig := w.sign(message)
		for i := range message {
			b := []byte(message)
			b[i] ^= 1
			if s, err := web3.Judge(w.chain, string(b), sig, options()); err == nil {
				t.Errorf("byte %d: %+v", i, s)
			}
		}
		for i := range sig {
			b := []byte(sig)
			b[i] ^= 1
			if s, err := web3.Judge(w.chain, message, string(b), options()); err == nil {
				t.Errorf("%s, signature %d: %+v", w.chain, i, s)
			}
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, w := range []wallet{ethereum(7), solana(1)} {
		for _, form := range []string{siwe, siweFull, siwsJS, siwsJSFull, siws} {
			message := w.text(form)
			f.Add(w.chain, message, w.sign(message))
		}
	}
	f.Fuzz(func(t *testing.T, chain, message, signature string) {
		s, err := web3.Judge(chain, message, signature, options())
		if err != nil {
			if refused := (*web3.Error)(nil); s != nil || !errors.As(err, &refused) {
				t.Errorf("got %v, %v", s, err)
			}
			return
		}
		if s.Domain != "app.example.com" && s.Domain != "localhost:3000" || now.Sub(s.IssuedAt) > 10*time.Minute || s.IssuedAt.After(now.Add(time.Minute)) {
			t.Errorf("it was taken: %+v", s)
		}
	})
}
