package saml

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	_ "crypto/sha1" // as part of OAEP
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"

	"github.com/beevik/etree"
)

// The ciphers that are read. Triple DES and the RSA padding of PKCS#1 v1.5 are
// not among them.
const (
	aes128CBC = nsXenc + "aes128-cbc"
	aes192CBC = nsXenc + "aes192-cbc"
	aes256CBC = nsXenc + "aes256-cbc"
	aes128GCM = nsXenc11 + "aes128-gcm"
	aes192GCM = nsXenc11 + "aes192-gcm"
	aes256GCM = nsXenc11 + "aes256-gcm"
	oaepMGF1P = nsXenc + "rsa-oaep-mgf1p"
	oaep      = nsXenc11 + "rsa-oaep"
)

// ciphers gives the length of the key, and whether the mode is GCM.
var ciphers = map[string]struct {
	key int
	gcm bool
}{
	aes128CBC: {16, false}, aes192CBC: {24, false}, aes256CBC: {32, false},
	aes128GCM: {16, true}, aes192GCM: {24, true}, aes256GCM: {32, true},
}

// Hashes inside of OAEP. There SHA-1 still does what it is there for, and most
// identity providers use it: nobody gains from a collision.
var (
	oaepDigests = map[string]crypto.Hash{
		"": crypto.SHA1, nsDsig + "sha1": crypto.SHA1, nsXenc + "sha256": crypto.SHA256,
		"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384, nsXenc + "sha512": crypto.SHA512,
	}
	oaepMGFs = map[string]crypto.Hash{
		"": crypto.SHA1, nsXenc11 + "mgf1sha1": crypto.SHA1, nsXenc11 + "mgf1sha256": crypto.SHA256,
		nsXenc11 + "mgf1sha384": crypto.SHA384, nsXenc11 + "mgf1sha512": crypto.SHA512,
	}
)

// maxKeys is how many copies of the content key are tried: an identity
// provider that knows two of our keys may encrypt for both.
const maxKeys = 4

// decrypt returns the assertion in an EncryptedAssertion. It is under the same
// limits as the document around it, and as little to be trusted.
func (sp *ServiceProvider) decrypt(hidden *etree.Element) (*etree.Element, error) {
	data, err := one(hidden, nsXenc, "EncryptedData")
	if err != nil {
		return nil, err
	}
	method, err := one(data, nsXenc, "EncryptionMethod")
	if err != nil {
		return nil, err
	}
	alg, _ := attr(method, "Algorithm")
	kind, ok := ciphers[alg]
	if !ok {
		return nil, fmt.Errorf("the cipher %.100q is not accepted", alg)
	}
	key, err := sp.contentKey(hidden, data, kind.key)
	if err != nil {
		return nil, err
	}
	ciphertext, err := cipherValue(data)
	if err != nil {
		return nil, err
	}
	plain, err := open(key, ciphertext, kind.gcm)
	if err != nil {
		return nil, err
	}
	root, err := parse(plain)
	if err != nil {
		return nil, err
	}
	n := count(root, map[string]int{})
	if !is(root, nsAssertion, "Assertion") || n["Assertion"] != 1 || n["EncryptedAssertion"]+n["Response"] != 0 ||
		n["Signature"] != len(children(root, nsDsig, "Signature")) {
		return nil, errors.New("not one assertion")
	}
	return root, nil
}

// contentKey finds and decrypts the key of data: within it or beside it.
func (sp *ServiceProvider) contentKey(hidden, data *etree.Element, size int) ([]byte, error) {
	keys := children(hidden, nsXenc, "EncryptedKey")
	for _, info := range children(data, nsDsig, "KeyInfo") {
		keys = append(keys, children(info, nsXenc, "EncryptedKey")...)
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%d encrypted keys", len(keys))
	}
	err := error(nil)
	for _, el := range keys {
		var options *rsa.OAEPOptions
		if options, err = oaepOptions(el); err != nil {
			continue
		}
		var value []byte
		if value, err = cipherValue(el); err != nil {
			continue
		}
		for _, private := range []*rsa.PrivateKey{sp.key, sp.next} {
			if private == nil {
				continue
			}
			var key []byte
			if key, err = private.Decrypt(nil, value, options); err == nil && len(key) == size {
				return key, nil
			}
		}
	}
	return nil, errors.Join(errors.New("no encrypted key of that length is for us"), err)
}

func oaepOptions(el *etree.Element) (*rsa.OAEPOptions, error) {
	method, err := one(el, nsXenc, "EncryptionMethod")
	if err != nil {
		return nil, err
	}
	digest, err := atMostOne(method, nsDsig, "DigestMethod")
	if err != nil {
		return nil, err
	}
	mgf, err := atMostOne(method, nsXenc11, "MGF")
	if err != nil {
		return nil, err
	}
	if len(children(method, nsXenc, "OAEPparams")) > 0 {
		return nil, errors.New("OAEP with a label")
	}
	digestName, mgfName := "", ""
	if digest != nil {
		digestName, _ = attr(digest, "Algorithm")
	}
	switch alg, _ := attr(method, "Algorithm"); alg {
	case oaepMGF1P:
	case oaep:
		if mgf != nil {
			mgfName, _ = attr(mgf, "Algorithm")
		}
	default:
		return nil, fmt.Errorf("the key cipher %.100q is not accepted", alg)
	}
	hash, ok := oaepDigests[digestName]
	mask, ok2 := oaepMGFs[mgfName]
	if !ok || !ok2 {
		return nil, errors.New("OAEP with an unknown hash")
	}
	return &rsa.OAEPOptions{Hash: hash, MGFHash: mask}, nil
}

func cipherValue(el *etree.Element) ([]byte, error) {
	data, err := one(el, nsXenc, "CipherData")
	if err != nil {
		return nil, err
	}
	value, err := one(data, nsXenc, "CipherValue")
	if err != nil {
		return nil, err
	}
	s, err := text(value)
	if err != nil {
		return nil, err
	}
	return unbase64(s)
}

// open decrypts ciphertext, which begins with its nonce. Every length is
// looked at before the ciphers are, because they panic.
func open(key, ciphertext []byte, gcm bool) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if gcm {
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		if len(ciphertext) < aead.NonceSize() {
			return nil, errors.New("too short")
		}
		return aead.Open(nil, ciphertext[:aead.NonceSize()], ciphertext[aead.NonceSize():], nil)
	}
	if len(ciphertext) < 2*aes.BlockSize || len(ciphertext)%aes.BlockSize != 0 {
		return nil, errors.New("not whole blocks")
	}
	plain := make([]byte, len(ciphertext)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, ciphertext[:aes.BlockSize]).CryptBlocks(plain, ciphertext[aes.BlockSize:])
	// Only the last byte of the padding is defined.
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errors.New("no padding")
	}
	return plain[:len(plain)-pad], nil
}
