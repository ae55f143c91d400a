package web3

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/sha3"
)

// checkEthereum looks at who signed, and writes the address with its checksum.
// Accounts that are contracts have no key of their own and cannot sign in: only
// the chain could say whether theirs is a good signature (EIP-1271).
func (s *Statement) checkEthereum(message, signature string) error {
	account, err := readAddress(s.Address)
	if err != nil {
		return err
	}
	signer, ok := recovered(message, signature)
	if !ok || !bytes.Equal(signer, account) {
		return refuse(ErrSignature, "the signature is not of the account that the message names")
	}
	s.Address = checksummed(account)
	return nil
}

// readAddress reads an address: in lower case, as auth-js writes it, or with
// its checksum (EIP-55). Any other mixture is a mistake in it.
func readAddress(v string) ([]byte, error) {
	digits, ok := strings.CutPrefix(v, "0x")
	account, err := hex.DecodeString(digits)
	if !ok || err != nil || len(account) != 20 {
		return nil, refuse(ErrMessage, "its account is not an Ethereum address")
	}
	if digits != strings.ToLower(digits) && v != checksummed(account) {
		return nil, refuse(ErrMessage, "its Ethereum address has a wrong checksum")
	}
	return account, nil
}

// checksummed writes an address as EIP-55 has it: a letter is a capital where
// the same digit of the hash is 8 or more.
func checksummed(account []byte) string {
	digits := []byte(hex.EncodeToString(account))
	sum := keccak(digits)
	for i, c := range digits {
		nibble := sum[i/2] >> 4
		if i%2 == 1 {
			nibble = sum[i/2] & 15
		}
		if c >= 'a' && nibble >= 8 {
			digits[i] = c - 'a' + 'A'
		}
	}
	return "0x" + string(digits)
}

// recovered is the account that signed a message with personal_sign (EIP-191).
// The signature is r, s and v, in hex.
func recovered(message, signature string) (account []byte, ok bool) {
	digits, prefixed := strings.CutPrefix(signature, "0x")
	sig, err := hex.DecodeString(digits)
	if !prefixed || err != nil || len(sig) != 65 {
		return nil, false
	}
	v := sig[64]
	if v == 27 || v == 28 { // some wallets leave the 27 out
		v -= 27
	}
	// Of s and its negative, wallets write the lower one (EIP-2): with both
	// anybody could make a second signature of the first.
	var half secp256k1.ModNScalar
	if overflow := half.SetByteSlice(sig[32:64]); v > 1 || overflow || half.IsOverHalfOrder() {
		return nil, false
	}
	hash := keccak([]byte("\x19Ethereum Signed Message:\n" + strconv.Itoa(len(message)) + message))
	key, _, err := ecdsa.RecoverCompact(append([]byte{27 + v}, sig[:64]...), hash)
	if err != nil {
		return nil, false
	}
	return keccak(key.SerializeUncompressed()[1:])[12:], true
}

// keccak is Keccak-256, which is older than SHA-3 and not the same.
func keccak(b []byte) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write(b)
	return h.Sum(nil)
}
