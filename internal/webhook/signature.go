// Package webhook calls the HTTP servers of operators: hooks that may refuse
// or add something while a person waits, and signed notices of what happened.
//
// Begin with Hook.Call, which asks a hook as Supabase's auth server does, and
// with Sign and Verify, the signature that all but Netlify's webhooks carry
// (Standard Webhooks, standardwebhooks.com). Netlify has the webhooks of
// Netlify's server.
//
// It must never take a failed call for consent, follow a redirect, or put an
// inner address, the rest of a URL or a secret into the message of an error.
package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks, as http.Header spells them.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

const (
	secretPrefix = "whsec_"
	// leastSecret is the fewest bytes a secret may have, which the standard
	// asks for: a shorter one could be found from one signed call.
	leastSecret = 24
	// window is how far a call's time may be from the receiver's, which bounds
	// for how long a call can be replayed.
	window = 5 * time.Minute
	masked = "***"
)

// The reasons of Verify.
var (
	// ErrSignature: a header is missing or malformed, or no signature is made
	// with one of the secrets.
	ErrSignature = errors.New("the signature is not valid")
	// ErrStale: the signed time is more than 5 minutes away.
	ErrStale = errors.New("the signature is too old or of the future")
)

// Secret is the key of a signature. Only String shows it; whatever prints it
// (fmt, slog, JSON) gets ***.
type Secret []byte

// NewSecret returns 32 random bytes.
func NewSecret() Secret {
	s := make(Secret, 32)
	rand.Read(s) // since Go 1.24 it ends the process rather than fail
	return s
}

// ParseSecret reads whsec_<base64 of 24 bytes or more>, and the same with
// Supabase's v1, in front. Its errors do not repeat s.
func ParseSecret(s string) (Secret, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "v1a,") || strings.HasPrefix(s, "whsk_") || strings.HasPrefix(s, "whpk_") {
		return nil, errors.New("webhook secret: keys of asymmetric signatures are not supported; use whsec_<base64>")
	}
	encoded, ok := strings.CutPrefix(strings.TrimPrefix(s, "v1,"), secretPrefix)
	if !ok {
		return nil, errors.New("webhook secret: it does not begin with whsec_ or v1,whsec_")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	// The decoder skips line breaks: a secret cut in two by an editor would
	// pass here, and nowhere else.
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, errors.New("webhook secret: what follows whsec_ is not base64")
	}
	if len(key) < leastSecret {
		return nil, fmt.Errorf("webhook secret: %d bytes are too few, take %d or more", len(key), leastSecret)
	}
	return key, nil
}

// ParseSecrets reads one secret or several with | between them, as Supabase
// has them while one takes another's place.
func ParseSecrets(s string) ([]Secret, error) {
	var all []Secret
	for one := range strings.SplitSeq(s, "|") {
		secret, err := ParseSecret(one)
		if err != nil {
			return nil, fmt.Errorf("secret %d: %w", len(all)+1, err)
		}
		all = append(all, secret)
	}
	return all, nil
}

// String is the secret itself as whsec_<base64>, for whoever keeps it or
// shows it to its owner.
func (s Secret) String() string { return secretPrefix + base64.StdEncoding.EncodeToString(s) }

// Format writes *** for every verb (fmt.Formatter).
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) }

// LogValue is *** (slog.LogValuer).
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalJSON is "***" (json.Marshaler).
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText is *** (encoding.TextMarshaler).
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// Sign returns the headers Webhook-Id, Webhook-Timestamp and
// Webhook-Signature of a call with that body: one signature per secret, with
// spaces between. id is the same each time one call is tried again, so that
// its receiver can tell; it must not contain a full stop.
func Sign(id string, at time.Time, body []byte, secrets ...Secret) http.Header {
	return signWith(" ", id, at, body, secrets)
}

// signWith is Sign with another separator between the signatures.
func signWith(separator, id string, at time.Time, body []byte, secrets []Secret) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, s := range secrets {
		if len(s) == 0 {
			continue // anybody could make this one
		}
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(sum(s, id, stamp, body)))
	}
	h := http.Header{}
	h.Set(headerID, id)
	h.Set(headerTimestamp, stamp)
	h.Set(headerSignature, strings.Join(signatures, separator))
	return h
}

// sum is the HMAC-SHA256 of id.stamp.body.
func sum(s Secret, id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, s)
	io.WriteString(mac, id+"."+stamp+".")
	mac.Write(body)
	return mac.Sum(nil)
}

// Verify reports whether h and body are a call that one of the secrets signed
// within 5 minutes of now. Its error is ErrSignature or ErrStale. A call that
// is replayed within the window passes: its receiver remembers Webhook-Id for
// as long.
func Verify(h http.Header, body []byte, now time.Time, secrets ...Secret) error {
	id, stamp := h.Get(headerID), h.Get(headerTimestamp)
	// With a full stop in the id the bytes of one call could be cut into
	// another id, time and body with the same signature.
	if id == "" || strings.Contains(id, ".") {
		return ErrSignature
	}
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(at, 10) != stamp {
		return ErrSignature
	}
	if !signed(h.Get(headerSignature), id, stamp, body, secrets) {
		return ErrSignature
	}
	// Compared, not subtracted: a difference could overflow into the window.
	if d := int64(window / time.Second); at < now.Unix()-d || at > now.Unix()+d {
		return ErrStale
	}
	return nil
}

// signed reports whether list holds a signature that one of the secrets made.
func signed(list, id, stamp string, body []byte, secrets []Secret) bool {
	var want [][]byte
	for _, s := range secrets {
		if len(s) > 0 {
			want = append(want, sum(s, id, stamp, body))
		}
	}
	found := false
	for one := range strings.FieldsSeq(list) {
		// Supabase's server puts ", " between signatures.
		encoded, ok := strings.CutPrefix(strings.TrimSuffix(one, ","), "v1,")
		if !ok {
			continue // a version of the standard that is not known here
		}
		got, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, w := range want {
			// No way out at the first that fits: the time must not tell which.
			found = hmac.Equal(got, w) || found
		}
	}
	return found
}
