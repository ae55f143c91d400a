package authtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
)

// Wallet is somebody's key on Solana, whose address it is.
type Wallet struct {
	Address string
	key     ed25519.PrivateKey
}

// NewWallet makes one.
func NewWallet(t testing.TB) *Wallet {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Wallet{Address: base58(public), key: private}
}

// SignsIn is a signed message by which its owner signs in to a site.
func (w *Wallet) SignsIn(site string, now time.Time) auth.Input {
	host := strings.TrimPrefix(strings.TrimPrefix(site, "https://"), "http://")
	message := fmt.Sprintf("%s wants you to sign in with your Solana account:\n%s\n\nSign in.\n\nURI: %s\nVersion: 1\nChain ID: mainnet\nNonce: %s\nIssued At: %s",
		host, w.Address, site, rand.Text(), now.UTC().Format(time.RFC3339))
	return auth.Input{Provider: "solana", Token: message, Code: base64.StdEncoding.EncodeToString(ed25519.Sign(w.key, []byte(message)))}
}

func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, base, rest := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, rest)
		out = append(out, digits[rest.Int64()])
	}
	for _, c := range b {
		if c != 0 {
			break
		}
		out = append(out, digits[0])
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return string(out)
}
