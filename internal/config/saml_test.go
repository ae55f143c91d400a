package config_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/config"
)

// rsaKeys are two RSA keys, good ones.
var rsaKeys = sync.OnceValues(func() (a, b *rsa.PrivateKey) {
	a, _ = rsa.GenerateKey(rand.Reader, 2048)
	b, _ = rsa.GenerateKey(rand.Reader, 2048)
	return a, b
})

// selfSigned is a certificate of a key.
func selfSigned(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gatehouse"}, NotAfter: time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return oneLine("CERTIFICATE", der)
}

func TestLoad_readsSAMLKeysInEveryForm(t *testing.T) {
	key, next := rsaKeys()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PrivateKey(key)
	for form, v := range map[string]string{
		"PKCS #1, base64":                 base64.StdEncoding.EncodeToString(pkcs1),
		"PKCS #1, base64url":              base64.RawURLEncoding.EncodeToString(pkcs1),
		"PKCS #8, base64":                 base64.StdEncoding.EncodeToString(pkcs8),
		"PKCS #1, PEM on one line":        oneLine("RSA PRIVATE KEY", pkcs1),
		"PKCS #8, PEM with line breaks":   strings.ReplaceAll(oneLine("PRIVATE KEY", pkcs8), `\n`, "\n"),
		"PKCS #8, PEM from another world": strings.ReplaceAll(oneLine("PRIVATE KEY", pkcs8), `\n`, "\r\n"),
	} {
		c, r := load(t, "GOTRUE_SAML_ENABLED=true", "GOTRUE_SAML_PRIVATE_KEY="+v, "GOTRUE_SAML_EXTERNAL_URL=https://sso.example/",
			"GOTRUE_SAML_PRIVATE_KEY_NEXT="+base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(next)))
		now, then := c.SAML.Keys()
		if now == nil || !now.Equal(key) || then == nil || !then.Equal(next) || c.SAML.URL != "https://sso.example" || len(r.Warnings) != 0 {
			t.Errorf("%s: it is not the key, or %q, or %v", form, c.SAML.URL, r.Warnings)
		}
	}
	c, _ := load(t)
	if now, then := c.SAML.Keys(); now != nil || then != nil {
		t.Error("without keys there are some")
	}
}

func TestLoad_refusesSAMLThatCannotWork(t *testing.T) {
	key, other := rsaKeys()
	pkcs1 := func(k *rsa.PrivateKey) string {
		return base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(k))
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	const (
		on      = "GOTRUE_SAML_ENABLED=true"
		netlify = "GOTRUE_EXTERNAL_SAML_ENABLED=true"
		meta    = "GOTRUE_EXTERNAL_SAML_METADATA_URL=https://idp.example/metadata"
		mine    = "GOTRUE_EXTERNAL_SAML_SIGNING_KEY="
		cert    = "GOTRUE_EXTERNAL_SAML_SIGNING_CERT="
	)
	for _, tc := range []struct {
		environ []string
		want    string
	}{
		{[]string{on}, "GATEHOUSE_SAML_PRIVATE_KEY: it is missing, and SAML_ENABLED is set; make one with: openssl genrsa 2048"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY="}, "GOTRUE_SAML_PRIVATE_KEY: it is missing"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY=hunter2"}, "GOTRUE_SAML_PRIVATE_KEY: it is not an RSA key in base64 or PEM"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY=" + appleKey()}, "GOTRUE_SAML_PRIVATE_KEY: it is not an RSA key in base64 or PEM"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY=" + pkcs1(short)}, "GOTRUE_SAML_PRIVATE_KEY: it has less than 2048 bits"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY=" + pkcs1(key), "GOTRUE_SAML_PRIVATE_KEY_NEXT=hunter2"}, "GOTRUE_SAML_PRIVATE_KEY_NEXT: it is not an RSA key"},
		{[]string{on, "GOTRUE_SAML_PRIVATE_KEY=" + pkcs1(key), "GOTRUE_SAML_EXTERNAL_URL=sso"}, "GOTRUE_SAML_EXTERNAL_URL: \"sso\" is not an absolute http or https URL"},
		{[]string{"GOTRUE_SAML_RATE_LIMIT_ASSERTION=0"}, "GOTRUE_SAML_RATE_LIMIT_ASSERTION: 0 is too small"},
		{[]string{"GOTRUE_SAML_RELAY_STATE_VALIDITY_PERIOD=1s"}, "GOTRUE_SAML_RELAY_STATE_VALIDITY_PERIOD: 1s is out of bounds; write 10s to 24h"},
		{[]string{netlify}, "GATEHOUSE_EXTERNAL_SAML_METADATA_URL: it is missing, and EXTERNAL_SAML_ENABLED is set"},
		{[]string{netlify, "GOTRUE_EXTERNAL_SAML_METADATA_URL=http://idp.example"}, "GOTRUE_EXTERNAL_SAML_METADATA_URL: the server calls others by https only"},
		{[]string{netlify, meta, "GOTRUE_EXTERNAL_SAML_API_BASE=/"}, "GOTRUE_EXTERNAL_SAML_API_BASE: \"/\" is not an absolute http or https URL"},
		{[]string{netlify, meta, mine + pkcs1(key)}, "GATEHOUSE_EXTERNAL_SAML_SIGNING_CERT: it is missing, and EXTERNAL_SAML_SIGNING_KEY is set; set both, or neither"},
		{[]string{netlify, meta, cert + selfSigned(t, key)}, "GATEHOUSE_EXTERNAL_SAML_SIGNING_KEY: it is missing, and EXTERNAL_SAML_SIGNING_CERT is set"},
		{[]string{netlify, meta, mine + pkcs1(key), cert + selfSigned(t, other)}, "GOTRUE_EXTERNAL_SAML_SIGNING_CERT: it is of another key than EXTERNAL_SAML_SIGNING_KEY"},
		{[]string{netlify, meta, mine + pkcs1(key), cert + "x"}, "GOTRUE_EXTERNAL_SAML_SIGNING_CERT: it is not a certificate in PEM"},
		{[]string{netlify, meta, mine + "hunter2", cert + selfSigned(t, key)}, "GOTRUE_EXTERNAL_SAML_SIGNING_KEY: it is not an RSA key in base64 or PEM"},
	} {
		_, r := config.Load(source(t, tc.environ, nil))
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), tc.want) {
			t.Errorf("%.80q: got %v, want %s", tc.environ, r.Faults, tc.want)
		}
		if err := r.Err(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.80q: the secret is told: %v", tc.environ, err)
		}
	}
}

func TestNetlifySAML_readsItsPair(t *testing.T) {
	key, _ := rsaKeys()
	c, r := load(t, "GOTRUE_EXTERNAL_SAML_ENABLED=true", "GOTRUE_EXTERNAL_SAML_METADATA_URL=https://idp.example", "GOTRUE_EXTERNAL_SAML_NAME=Staff",
		"GOTRUE_EXTERNAL_SAML_SIGNING_CERT="+selfSigned(t, key), "GOTRUE_EXTERNAL_SAML_SIGNING_KEY="+oneLine("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	cert, private := c.SAML.Netlify.Pair()
	if cert == nil || cert.Subject.CommonName != "gatehouse" || !key.Equal(private) || len(r.Warnings) != 0 {
		t.Errorf("got %v, warnings %v", cert, r.Warnings)
	}
	c, _ = load(t, "GOTRUE_EXTERNAL_SAML_ENABLED=true", "GOTRUE_EXTERNAL_SAML_METADATA_URL=https://idp.example")
	if cert, private := c.SAML.Netlify.Pair(); cert != nil || private != nil {
		t.Error("without keys there are some")
	}
}
