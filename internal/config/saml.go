package config

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"time"
)

// SAML is this server as a SAML 2.0 service provider.
type SAML struct {
	Enabled    bool          `env:"SAML_ENABLED" scope:"own" envDefault:"false" help:"Companies' own identity providers, which administrators add, let people in."`
	URL        string        `env:"SAML_EXTERNAL_URL" scope:"own" help:"Public address the providers know this server by. Empty: API_EXTERNAL_URL."`
	PrivateKey Secret        `env:"SAML_PRIVATE_KEY" scope:"own" help:"RSA key of 2048 bits or more that signs requests: PKCS #1 in base64, or PEM. Needed with SAML_ENABLED."`
	NextKey    Secret        `env:"SAML_PRIVATE_KEY_NEXT" scope:"own" help:"The key to come: it stands in the metadata already, so that providers know it by then."`
	Encrypted  bool          `env:"SAML_ALLOW_ENCRYPTED_ASSERTIONS" envDefault:"false" help:"Take encrypted assertions, too, and say so in the metadata."`
	RateLimit  float64       `env:"SAML_RATE_LIMIT_ASSERTION" envDefault:"15" min:"1" help:"Assertions one client may bring in five minutes."`
	RelayLife  time.Duration `env:"SAML_RELAY_STATE_VALIDITY_PERIOD" envDefault:"10m" min:"10s" max:"24h" help:"How long somebody sent to their provider may take to come back. Supabase's server gives two minutes, in which not everybody has found their telephone."`

	Netlify NetlifySAML `envPrefix:"EXTERNAL_SAML_" help:"The one provider that Netlify's server knows: %s"`
}

// NetlifySAML is one identity provider, set up as for Netlify's server.
type NetlifySAML struct {
	Enabled     bool   `env:"ENABLED" scope:"own" envDefault:"false" help:"it lets people in."`
	APIBase     string `env:"API_BASE" scope:"own" help:"public address it knows this server by, /saml/acs below it. Empty: API_EXTERNAL_URL."`
	MetadataURL string `env:"METADATA_URL" scope:"own" check:"web" help:"where its metadata is."`
	Name        string `env:"NAME" scope:"own" help:"what its button says."`
	SigningCert PEM    `env:"SIGNING_CERT" scope:"own" help:"certificate of the key that signs requests. Empty: the server makes both."`
	SigningKey  Secret `env:"SIGNING_KEY" scope:"own" help:"that key, RSA of 2048 bits or more, in PEM."`
}

// Keys are the keys of SAML_PRIVATE_KEY and SAML_PRIVATE_KEY_NEXT, nil where
// there is none.
func (s SAML) Keys() (now, next *rsa.PrivateKey) {
	now, _ = rsaKey(s.PrivateKey)
	next, _ = rsaKey(s.NextKey)
	return now, next
}

// Pair is the certificate and key that sign requests, nil where the server has
// to make them.
func (n NetlifySAML) Pair() (*x509.Certificate, *rsa.PrivateKey) {
	cert, err := certificate(n.SigningCert)
	key, bad := rsaKey(n.SigningKey)
	if err != nil || bad != nil {
		return nil, nil
	}
	return cert, key
}

// saml looks at what a service provider cannot do without.
func (k *checker) saml() {
	s := &k.SAML
	if s.Enabled {
		k.base("SAML_EXTERNAL_URL", &s.URL)
		const mend = "make one with: openssl genrsa 2048 | openssl rsa -outform DER | openssl base64 -A"
		if strings.TrimSpace(s.PrivateKey.Reveal()) == "" {
			k.fault("SAML_PRIVATE_KEY", "it is missing, and SAML_ENABLED is set", mend)
		}
		k.rsa("SAML_PRIVATE_KEY", s.PrivateKey, mend)
		k.rsa("SAML_PRIVATE_KEY_NEXT", s.NextKey, mend)
	}
	if s.Netlify.Enabled {
		k.netlifySAML()
	}
}

func (k *checker) netlifySAML() {
	const on, cert, key = "EXTERNAL_SAML_ENABLED", "EXTERNAL_SAML_SIGNING_CERT", "EXTERNAL_SAML_SIGNING_KEY"
	n := &k.SAML.Netlify
	k.base("EXTERNAL_SAML_API_BASE", &n.APIBase)
	if n.MetadataURL == "" {
		k.fault("EXTERNAL_SAML_METADATA_URL", "it is missing, and "+on+" is set", "set it to the address of the provider's metadata, or take "+on+" out")
	}
	k.outgoing("EXTERNAL_SAML_METADATA_URL", n.MetadataURL)
	k.rsa(key, n.SigningKey, "write it as PEM, with \\n for its line breaks")
	c, err := certificate(n.SigningCert)
	private, bad := rsaKey(n.SigningKey)
	switch {
	case n.SigningCert == "" && n.SigningKey == "", bad != nil:
	case n.SigningKey == "":
		k.fault(key, "it is missing, and "+cert+" is set", "set both, or neither")
	case n.SigningCert == "":
		k.fault(cert, "it is missing, and "+key+" is set", "set both, or neither")
	case err != nil:
		k.fault(cert, "it is not a certificate in PEM", "write it with \\n for its line breaks")
	case !private.PublicKey.Equal(c.PublicKey):
		k.fault(cert, "it is of another key than "+key, "set the two that belong together")
	}
}

// base looks at an address that others are appended to.
func (k *checker) base(x string, address *string) {
	if *address != "" {
		k.refused(x, external(*address))
		*address = strings.TrimRight(*address, "/")
	}
}

// rsa looks at a key, where there is one.
func (k *checker) rsa(x string, s Secret, mend string) {
	_, err := rsaKey(s)
	switch {
	case errors.Is(err, errShort):
		k.fault(x, "it has less than 2048 bits", mend)
	case err != nil:
		k.fault(x, "it is not an RSA key in base64 or PEM", mend)
	}
}

var (
	errNoKey = errors.New("config: not a key")
	errShort = errors.New("config: a short key")
)

// rsaKey reads an RSA key, PKCS #1 or #8, in base64 or PEM. It is nil without
// an error when there is none.
func rsaKey(s Secret) (*rsa.PrivateKey, error) {
	v := lines(s.Reveal())
	if v == "" {
		return nil, nil
	}
	key, err := privateKey(v)
	k, ok := key.(*rsa.PrivateKey)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errNoKey
	case k.N.BitLen() < 2048:
		return nil, errShort
	}
	return k, nil
}

// privateKey reads a private key in PEM, or its bytes in base64. An error says
// nothing of what was read.
func privateKey(v string) (any, error) {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(strings.Join(strings.Fields(v), ""), "="))
	der, err := base64.RawStdEncoding.DecodeString(plain)
	if block, _ := pem.Decode([]byte(v)); block != nil {
		der = block.Bytes
	} else if err != nil {
		return nil, errNoKey
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	} else if strings.Contains(err.Error(), "insecure") { // crypto/rsa refuses keys below 1024 bits
		return nil, errShort
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errNoKey
}

func certificate(p PEM) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(p))
	if block == nil {
		return nil, errNoKey
	}
	return x509.ParseCertificate(block.Bytes)
}
