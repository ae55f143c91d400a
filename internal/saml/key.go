package saml

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Keys outside of these sizes are refused: shorter ones can be broken, longer
// ones make every check expensive.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

func readKey(in []byte) (*rsa.PrivateKey, error) {
	var der []byte
	if block, _ := pem.Decode(in); block != nil {
		der = block.Bytes
	} else if b, err := unbase64(string(in)); err == nil {
		der = b
	} else {
		return nil, errors.New("saml: the private key is neither PEM nor base64")
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		// What is wrong with a key is not said: errors are logged.
		any, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, errors.New("saml: the private key is neither PKCS#1 nor PKCS#8")
		}
		rsaKey, ok := any.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("saml: the private key is not RSA")
		}
		key = rsaKey
	}
	if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
		return nil, fmt.Errorf("saml: the private key has %d bits; %d to %d are accepted", n, minRSABits, maxRSABits)
	}
	return key, nil
}

// certificate returns the certificate of key. Nobody checks a chain in SAML, so
// if none is given, one is made that needs no keeping: everything in it
// follows from the key and the name, and so it is the same on every node and
// after every restart.
func certificate(key *rsa.PrivateKey, given []byte, name string) (*x509.Certificate, error) {
	if len(bytes.TrimSpace(given)) > 0 {
		block, _ := pem.Decode(given)
		if block == nil {
			return nil, errors.New("saml: the certificate is not PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("saml: the certificate: %w", err)
		}
		if !key.PublicKey.Equal(cert.PublicKey) {
			return nil, errors.New("saml: the certificate is not that of the private key")
		}
		return cert, nil
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	if len(name) > 64 {
		name = name[:64] // X.520: a common name has at most 64 characters
	}
	tmpl := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(append([]byte{1}, sum[:15]...)),
		Subject:            pkix.Name{CommonName: name},
		NotBefore:          time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:           time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:           x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		SignatureAlgorithm: x509.SHA256WithRSA, // PKCS#1 v1.5: the same bytes each time
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("saml: make a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// unbase64 decodes standard base64, lines and indentation allowed.
func unbase64(s string) ([]byte, error) {
	return base64.StdEncoding.Strict().DecodeString(squeeze(s))
}
