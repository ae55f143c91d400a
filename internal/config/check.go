package config

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// checker looks at settings that could be read: at those with rules of their
// own, and at those that contradict each other.
type checker struct {
	*Config
	*Report
	dir   string           // that a relative DATA is in
	given map[string]entry // what was set, by X
	bad   map[string]bool  // what has a fault already, by X
}

// at is the name the operator used for a setting, and the place to append to
// the problem.
func (k *checker) at(x string) (name, place string) {
	e, ok := k.given[x]
	if !ok {
		return ours + x, ""
	}
	return e.shown, e.where()
}

func (k *checker) fault(x, problem, mend string) {
	if k.bad[x] {
		return // its first fault is enough, others may follow from it
	}
	k.bad[x] = true
	name, place := k.at(x)
	k.Report.fault(name, problem+place, mend)
}

func (k *checker) warn(x, problem, mend string) {
	if !k.bad[x] {
		name, place := k.at(x)
		k.Report.warn(name, problem+place, mend)
	}
}

func (k *checker) refused(x string, err error) {
	if no := (*refusal)(nil); errors.As(err, &no) {
		k.fault(x, no.problem, no.mend)
	} else if err != nil {
		k.fault(x, err.Error(), "")
	}
}

func (k *checker) all() {
	k.server()
	k.database()
	k.site()
	k.proxied()
	k.sharedSecret()
	k.signing()
	k.mail()
	k.texting()
	k.passwords()
	k.captcha()
	k.providers()
	k.saml()
	k.hooks()
	k.telemetry()
	if !k.Session.Rotation {
		k.warn("SECURITY_REFRESH_TOKEN_ROTATION_ENABLED", "refresh tokens are always used once: false is ignored", "take it out")
		k.Session.Rotation = true
	}
	if k.RateLimit.Limits == "off" {
		k.warn("RATE_LIMITS", "no limits: passwords and codes can be guessed without end", "set it to on, except in tests")
	}
}

func (k *checker) server() {
	s := &k.Server
	s.Host = strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	if !isHost(s.Host) {
		k.fault("API_HOST", quoted(s.Host)+" is not an address to listen on", "write e.g. 127.0.0.1, and the port to GATEHOUSE_PORT")
	}
	if s.ExternalURL != "" {
		k.refused("API_EXTERNAL_URL", external(s.ExternalURL))
		s.ExternalURL = strings.TrimRight(s.ExternalURL, "/")
	} else if !k.bad["API_HOST"] && !k.Loopback() {
		k.warn("API_EXTERNAL_URL", "it is not set: links will lead to the address listened on", "set it to the address users reach this server at")
	}
	data := s.Data
	if !filepath.IsAbs(data) {
		data = filepath.Join(k.dir, data)
	}
	if info, err := os.Stat(data); err == nil && !info.IsDir() {
		k.fault("DATA", quoted(s.Data)+" is not a folder", "name a folder; it is made when it is not there")
	}
	// A short token can be guessed online; it opens everything.
	if n := len(s.OperatorToken); n > 0 && n < 16 {
		k.fault("OPERATOR_TOKEN", "it has less than 16 characters", "make a long random one")
	}
	if strings.ContainsFunc(s.OperatorToken.Reveal(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		k.fault("OPERATOR_TOKEN", "it contains a space or line break, which no request header can carry", "make a long random one")
	}
	if k.Tenants.Multi && s.OperatorToken == "" {
		k.fault("MULTIINSTANCEMODE", "it needs OPERATOR_TOKEN, which signs for the tenants", "set OPERATOR_TOKEN")
	}
	if _, ok := olderKeys(s.MasterKeyOld); !ok {
		k.fault("MASTER_KEY_OLD", "one of its keys is not 32 bytes in base64, base64url or hex", "write the keys that MASTER_KEY had before, separated by commas")
	}
	if _, ok := sealingKey(s.MasterKey); s.MasterKey != "" && !ok {
		k.fault("MASTER_KEY", "it is not 32 bytes in base64, base64url or hex", "make one with: openssl rand -base64 32")
	}
}

func (k *checker) site() {
	for _, p := range k.Site.Redirects {
		if anyHost(p) {
			// An open redirect hands the tokens in a link to whoever owns the host.
			k.warn("URI_ALLOW_LIST", quoted(p)+" lets users, and their tokens, be sent to any host", "name the hosts")
		}
	}
}

// elsewhere is the setting that says users reach the server or its site from
// other machines, API_EXTERNAL_URL or SITE_URL, or "" when neither does.
func (k *checker) elsewhere() string {
	for _, s := range []struct{ x, url string }{{"API_EXTERNAL_URL", k.Server.ExternalURL}, {"SITE_URL", k.Site.URL}} {
		u, err := url.Parse(s.url)
		// The scheme of an app, myapp://home, names no host.
		if err != nil || k.bad[s.x] || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		// Browsers keep localhost and all below it on their own machine (RFC 6761 §6.3).
		host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		if host != "" && !loopback(host) && !strings.HasSuffix(host, ".localhost") {
			return s.x
		}
	}
	return ""
}

// public reports whether others than this machine reach the server.
func (k *checker) public() bool {
	return k.elsewhere() != "" || !k.bad["API_HOST"] && !k.Loopback()
}

// proxied looks at a server that only this machine reaches although its users
// are elsewhere: then a proxy on this machine stands before it.
func (k *checker) proxied() {
	x := k.elsewhere()
	if x == "" || k.bad["API_HOST"] || !k.Loopback() {
		return
	}
	if k.Server.ExternalURL == "" {
		k.warn("API_EXTERNAL_URL", "it is not set, and "+x+" names another machine: links in mails and the issuer (iss) will name the address listened on", "set it to the address users reach this server at")
	}
	if k.RateLimit.Header == "" && len(k.RateLimit.Proxies) == 0 && !k.RateLimit.SBForwardedFor && k.RateLimit.Limits != "off" {
		// Every client comes from a loopback address then: only a header tells who is who.
		k.warn("RATE_LIMIT_HEADER", "it is not set, and "+x+" names another machine: clients of a proxy on this machine that sends no X-Forwarded-For all count as one", "set it to the header in which your proxy names the client and which it overwrites, or name the proxy in TRUSTED_PROXIES")
	}
}

// sharedSecret looks at JWT_SECRET. RFC 7518 §3.2 asks for 256 bits; whoever
// holds one token can guess a short secret offline, and then be anyone.
func (k *checker) sharedSecret() {
	const x, mend = "JWT_SECRET", "make one with: openssl rand -base64 48"
	if _, set := k.given[x]; !set {
		return
	}
	weak := k.warn
	if k.public() {
		weak = k.fault
	}
	secret := k.JWT.Secret.Reveal()
	short := "it has only " + strconv.Itoa(len(secret)) + " bytes and can be guessed from any token"
	switch {
	case secret == "":
		k.warn(x, "it is set but empty: the server signs with keys it makes itself", "set a secret, or take it out")
	case demo(secret):
		weak(x, "it is a well-known example: anyone can sign tokens with it", mend)
	case len(secret) < 16:
		weak(x, short, "use at least 32; "+mend)
	case len(secret) < 32:
		// Not a fault: running servers have such ones.
		k.warn(x, short, "use at least 32; "+mend)
	}
}

func (k *checker) signing() {
	j := k.JWT
	if v := []byte(j.Keys.Reveal()); len(v) > 0 && (!json.Valid(v) || !bytes.HasPrefix(bytes.TrimSpace(v), []byte("["))) {
		k.fault("JWT_KEYS", "it is not a JSON array", `write e.g. [{"kty":"EC",...}]`)
	}
	methods := []string{"HS256", "RS256", "ES256", "EdDSA"} // those token signs and verifies with
	for _, m := range j.ValidMethods {
		// "none" is among what is refused: it accepts tokens nobody signed
		// (RFC 8725 §3.2).
		if !slices.Contains(methods, m) {
			k.fault("JWT_VALID_METHODS", quoted(m)+" is not an algorithm that signs", "write some of "+strings.Join(methods, ", "))
		}
	}
	// A key that is followed so soon would be old before it is known.
	if j.RotateEvery != 0 && j.RotateEvery-j.RotationOverlap <= j.RotationOverlap && !k.bad["JWT_ROTATION_OVERLAP"] {
		k.fault("JWT_ROTATE_EVERY", j.RotateEvery.String()+" is not more than twice JWT_ROTATION_OVERLAP, "+j.RotationOverlap.String(), "write a longer time, 0 for never, or a shorter overlap")
	}
}

func (k *checker) mail() {
	m := k.SMTP
	none, hook := k.Mailer.Mail == "none", k.Hooks.SendEmail
	switch {
	case hook && none:
		k.fault("MAIL", "no mail shall be sent, but HOOK_SEND_EMAIL_ENABLED is set", "take one of them out")
	case m.Host != "" && none:
		k.fault("MAIL", "no mail shall be sent, but SMTP_HOST is set", "take one of them out")
	case m.Host == "" && !hook && !none && !k.bad["SMTP_HOST"] && !k.bad["MAIL"] && !k.bad["API_HOST"] && !k.Loopback():
		// The development inbox would show everybody everybody's sign-in links.
		k.fault("API_HOST", "listening on "+k.Server.Host+" needs a mail server", "set SMTP_HOST, or GATEHOUSE_MAIL=none to send no mail, or listen on 127.0.0.1")
	}
	if m.Host != "" && m.From == "" {
		k.fault("SMTP_ADMIN_EMAIL", "it is missing, and SMTP_HOST is set", "set it to the address mail comes from")
	}
	if k.Mailer.Unverified {
		k.warn("MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS", "whoever signs up with somebody else's address is let in, too", "take it out, unless your application trusts no address that is not confirmed")
	}
	if none && !k.Mailer.Autoconfirm && k.External.Email && !k.bad["MAILER_AUTOCONFIRM"] {
		k.warn("MAIL", "no mail is sent, so nobody can confirm an e-mail address", "set SMTP_HOST instead, or GATEHOUSE_MAILER_AUTOCONFIRM=true to take every address as confirmed")
	}
	if m.TLS == "none" && m.Host != "" && !loopback(m.Host) {
		what := "mail, with the links and codes that let people in, travels unencrypted"
		if m.Password != "" {
			what = "mail, with the links and codes that let people in, and the password at the mail server travel unencrypted"
		}
		k.warn("SMTP_TLS", what, "set it to auto")
	}
	// A proxy on this machine makes a loopback server public, and with it the
	// inbox with everybody's sign-in links.
	if u, err := url.Parse(k.Server.ExternalURL); err == nil && u.Host != "" && k.DevInbox() &&
		!k.bad["SMTP_HOST"] && !k.bad["MAIL"] && !loopback(u.Hostname()) {
		k.warn("API_EXTERNAL_URL", "the server is reached from elsewhere, and the development inbox shows its mail to whoever reaches it", "set SMTP_HOST, or GATEHOUSE_MAIL=none to send no mail")
	}
}

// demo reports whether a secret is one that examples and guides print.
func demo(secret string) bool {
	switch strings.ToLower(strings.TrimSpace(secret)) {
	case "super-secret-jwt-token-with-at-least-32-characters-long",
		"your-super-secret-jwt-token-with-at-least-32-characters-long",
		"f023d3db-39dc-4ac9-87b2-b2be72e9162b",
		"your-256-bit-secret", "a-string-secret-at-least-256-bits-long",
		"change-this! very important!", "changeme", "change-me", "your-jwt-secret",
		"secret", "supersecret", "super-secret", "testsecret", "":
		return true
	}
	return false
}

// olderKeys reads a list of keys, each with or without a name before a colon.
func olderKeys(s Secret) (keys [][]byte, ok bool) {
	for part := range strings.SplitSeq(s.Reveal(), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if _, key, named := strings.Cut(part, ":"); named {
			part = key
		}
		key, ok := sealingKey(Secret(part))
		if !ok {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

// sealingKey reads 32 bytes written as hex, base64 or base64url. No text can
// be two of these: their lengths differ.
func sealingKey(s Secret) ([]byte, bool) {
	v := strings.TrimSpace(s.Reveal())
	if b, err := hex.DecodeString(v); err == nil && len(b) == 32 {
		return b, true
	}
	v = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(v, "="))
	b, err := base64.RawStdEncoding.DecodeString(v)
	if err != nil || len(b) != 32 {
		return nil, false
	}
	return b, true
}
