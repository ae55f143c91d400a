package samltest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what XML Encryption's OAEP uses by default
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"hash"

	"github.com/beevik/etree"
)

// The ciphers an assertion can be encrypted with, and those of its key.
const (
	AES128CBC = nsXenc + "aes128-cbc"
	AES256CBC = nsXenc + "aes256-cbc"
	AES128GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm"
	AES256GCM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"

	OAEP       = nsXenc + "rsa-oaep-mgf1p"                  // with SHA-1
	OAEPSHA256 = "http://www.w3.org/2009/xmlenc11#rsa-oaep" // with SHA-256, mask too
	RSA15      = nsXenc + "rsa-1_5"
)

// encrypt wraps an assertion into an EncryptedAssertion for cert.
func encrypt(assertion *etree.Element, cert *x509.Certificate, alg, keyAlg string) *etree.Element {
	if cert == nil {
		panic("samltest: the service provider has named no key to encrypt for")
	}
	doc := etree.NewDocument()
	doc.SetRoot(assertion.Copy())
	plain, err := doc.WriteToBytes()
	if err != nil {
		panic(err)
	}
	return encryptBytes(plain, cert.PublicKey.(*rsa.PublicKey), alg, or(keyAlg, OAEP))
}

// EncryptText makes an EncryptedAssertion of anything.
func EncryptText(plain string, cert *x509.Certificate, alg string) *etree.Element {
	return encryptBytes([]byte(plain), cert.PublicKey.(*rsa.PublicKey), alg, OAEP)
}

func encryptBytes(plain []byte, public *rsa.PublicKey, alg, keyAlg string) *etree.Element {
	key := make([]byte, 32)
	if alg == AES128CBC || alg == AES128GCM {
		key = key[:16]
	}
	random(key)
	method := ""
	var wrapped []byte
	var err error
	switch keyAlg {
	case RSA15:
		wrapped, err = rsa.EncryptPKCS1v15(rand.Reader, public, key) //nolint:staticcheck // made to be refused
	case OAEPSHA256:
		method = `<ds:DigestMethod Algorithm="` + SHA256 + `"/><xenc11:MGF xmlns:xenc11="http://www.w3.org/2009/xmlenc11#" Algorithm="http://www.w3.org/2009/xmlenc11#mgf1sha256"/>`
		wrapped, err = oaep(sha256.New(), public, key)
	default:
		method = `<ds:DigestMethod Algorithm="` + SHA1 + `"/>`
		wrapped, err = oaep(sha1.New(), public, key)
	}
	if err != nil {
		panic(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return element(fmt.Sprintf(`<saml:EncryptedAssertion xmlns:saml="%s"><xenc:EncryptedData xmlns:xenc="%s" xmlns:ds="%s" Type="%sElement">`+
		`<xenc:EncryptionMethod Algorithm="%s"/><ds:KeyInfo><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="%s">%s</xenc:EncryptionMethod>`+
		`<xenc:CipherData><xenc:CipherValue>%s</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>`+
		`<xenc:CipherData><xenc:CipherValue>%s</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>`,
		nsAssertion, nsXenc, nsDsig, nsXenc, alg, keyAlg, method, b64(wrapped), b64(seal(key, plain, alg))))
}

func oaep(h hash.Hash, public *rsa.PublicKey, key []byte) ([]byte, error) {
	return rsa.EncryptOAEP(h, rand.Reader, public, key, nil)
}

func seal(key, plain []byte, alg string) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	switch alg {
	case AES128GCM, AES256GCM:
		aead, err := cipher.NewGCM(block)
		if err != nil {
			panic(err)
		}
		nonce := make([]byte, aead.NonceSize())
		random(nonce)
		return aead.Seal(nonce, nonce, plain, nil)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(append([]byte(nil), plain...), make([]byte, pad)...)
	padded[len(padded)-1] = byte(pad)
	out := make([]byte, aes.BlockSize+len(padded))
	random(out[:aes.BlockSize])
	cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], padded)
	return out
}

// random never fails: the runtime ends the program first.
func random(b []byte) { _, _ = rand.Read(b) }
