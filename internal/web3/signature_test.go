package web3_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"gatehouse/internal/web3"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// Malformed ones panicked elsewhere.
func TestJudge_refusesEthereumSignatures(t *testing.T) {
	w, eve := ethereum(7), ethereum(6)
	message := w.text(siwe)
	sig := w.sign(message)
	r, s, v := sig[2:66], sig[66:130], sig[130:]
	other := map[string]string{"1b": "1c", "1c": "1b"}[v]
	order := secp256k1.Params().N
	n, _ := new(big.Int).SetString(s, 16)
	high := hex.EncodeToString(new(big.Int).Sub(order, n).FillBytes(make([]byte, 32)))
	zero := strings.Repeat("0", 64)
	over := hex.EncodeToString(order.FillBytes(make([]byte, 32)))
	for name, sig := range map[string]string{
		"another's":          eve.sign(message),
		"of another text":    w.sign(message + " "),
		"empty":              "",
		"only 0x":            "0x",
		"no 0x":              sig[2:],
		"0X":                 "0X" + sig[2:],
		"not hex":            "0x" + strings.Repeat("z", 130),
		"odd":                sig[:131],
		"short":              sig[:130],
		"compact (EIP-2098)": "0x" + r + s,
		"long":               sig + "00",
		"huge":               "0x" + strings.Repeat("00", 1<<20),
		"other v":            "0x" + r + s + other,
		"v of 2":             "0x" + r + s + "02",
		"v of 29":            "0x" + r + s + "1d",
		"v of 37":            "0x" + r + s + "25",
		"v of 255":           "0x" + r + s + "ff",
		"high s":             "0x" + r + high + other,
		"r of 0":             "0x" + zero + s + v,
		"s of 0":             "0x" + r + zero + v,
		"r of the order":     "0x" + over + s + v,
		"s of the order":     "0x" + r + over + v,
		"all ones":           "0x" + strings.Repeat("f", 128) + v,
		"a line break":       sig + "\n",
		"swapped":            "0x" + s + r + v,
		"of the bare text":   bare(message),
	} {
		if _, err := web3.Judge(w.chain, message, sig, options()); !errors.Is(err, web3.ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// bare is a signature without what EIP-191 puts before the message: as of a
// transaction.
func bare(message string) string {
	sig := ecdsa.SignCompact(secp256k1.PrivKeyFromBytes([]byte{7}), keccak([]byte(message)), false)
	return "0x" + hex.EncodeToString(append(sig[1:], sig[0]))
}

func TestJudge_refusesSolanaSignatures(t *testing.T) {
	w, eve := solana(1), solana(2)
	message := w.text(siws)
	sig := w.sign(message)
	raw, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	// The same modulo the order of the curve: a second signature out of the first.
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := bytes.Clone(raw[32:])
	for i := range 16 {
		s[i], s[31-i] = s[31-i], s[i]
	}
	again := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	for i := range 16 {
		again[i], again[31-i] = again[31-i], again[i]
	}
	for name, sig := range map[string]string{
		"another's":       eve.sign(message),
		"of another text": w.sign(message + " "),
		"empty":           "", "short": sig[:len(sig)-1], "one byte less": enc(raw[:63]), "one byte more": enc(append(bytes.Clone(raw), 0)),
		"huge": strings.Repeat("A", 1<<20), "zeros": enc(make([]byte, 64)), "not base64": strings.Repeat("!", 86),
		"s and the order": enc(append(bytes.Clone(raw[:32]), again...)), "padded too far": sig + "====", "a line break": sig[:40] + "\n" + sig[40:], "hex": hex.EncodeToString(raw),
	} {
		if _, err := web3.Judge(w.chain, message, sig, options()); !errors.Is(err, web3.ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestJudge_refusesAddresses(t *testing.T) {
	w := ethereum(7)
	for _, a := range []string{
		"", "0x", w.address[2:], w.address[:41], w.address + "0", "0X" + w.address[2:], "0x" + strings.Repeat("g", 40), w.address + " ", "eip155:1:" + w.address, "vitalik.eth",
		"0x" + strings.ToUpper(w.address[2:]),
	} {
		message := strings.Replace(siwe, "\nA\n", "\n"+a+"\n", 1)
		if _, err := web3.Judge(w.chain, message, w.sign(message), options()); !errors.Is(err, web3.ErrMessage) {
			t.Errorf("%q: got %v", a, err)
		}
	}
	s := solana(1)
	for _, a := range []string{
		"", "0", strings.Repeat("1", 32), // zeros: a point of small order
		toBase58(append([]byte{1}, make([]byte, 31)...)), // the neutral one
		toBase58(make([]byte, 33)), s.address[2:], s.address + "1", "1" + s.address, s.address[:10] + "0" + s.address[11:],
		strings.Repeat("z", 64), strings.Repeat("z", 65), " " + s.address, toBase58(bytes.Repeat([]byte{0xff}, 32)),
	} {
		message := strings.Replace(siws, "\nA\n", "\n"+a+"\n", 1)
		if _, err := web3.Judge(s.chain, message, s.sign(message), options()); !errors.Is(err, web3.ErrMessage) {
			t.Errorf("%q: got %v", a, err)
		}
	}
}

// With a key of small order a signature of zeros is good for any message.
func TestJudge_aKeyOfSmallOrderIsNobody(t *testing.T) {
	neutral := append([]byte{1}, make([]byte, 31)...)
	message := strings.Replace(siws, "\nA\n", "\n"+toBase58(neutral)+"\n", 1)
	forged := append(bytes.Clone(neutral), make([]byte, 32)...)
	if !ed25519.Verify(neutral, []byte(message), forged) {
		t.Fatal("the forgery is none")
	}
	if _, err := web3.Judge(web3.Solana, message, base64.StdEncoding.EncodeToString(forged), options()); err == nil {
		t.Error("it was taken")
	}
}

// Vectors of EIP-55, and of the documentation of web3.js for EIP-191.
func TestEthereum_publishedVectors(t *testing.T) {
	for _, a := range []string{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
		"0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb", "0x52908400098527886E0F7030069857D2E4169EE7", "0xde709f2102306220921060314715629080e2fb77",
	} {
		if _, err := web3.ReadAddress(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	const sig = "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
	account, ok := web3.Recovered("Some data", sig)
	if got := hex.EncodeToString(account); !ok || got != "2c7536e3605d9c16a7a3d7b1898e529396a65c23" {
		t.Errorf("got %s, %v", got, ok)
	}
}

func TestBase58_publishedVectors(t *testing.T) {
	for v, want := range map[string]string{
		"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "06ddf6e1d765a193d9cbe146ceeb79ac1cb485ed5f5b37913a8cf5857eff00a9",
		"2NEpo7TZRRrLZSi2U":                           hex.EncodeToString([]byte("Hello World!")),
		"11":                                          "0000", "1112": "00000001",
	} {
		if got, ok := web3.Base58(v); !ok || hex.EncodeToString(got) != want {
			t.Errorf("%s: got %x, %v, want %s", v, got, ok, want)
		}
	}
	for _, v := range []string{"", "0", "O", "I", "l", "a b", "é"} {
		if got, ok := web3.Base58(v); ok {
			t.Errorf("%q: got %x", v, got)
		}
	}
}
