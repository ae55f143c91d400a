package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	keyA = Secret("a key of twenty-four byt")
	keyB = Secret("b key of twenty-four byt")
)

// hmacOf computes a signature apart from the code under test.
func hmacOf(key []byte, text string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func TestSign_isStandardWebhooks(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	signed := `msg_1.1772366400.{"a":1}`
	for _, c := range []struct {
		name string
		keys []Secret
		want string
	}{
		{"one", []Secret{keyA}, hmacOf(keyA, signed)},
		{"two", []Secret{keyA, keyB}, hmacOf(keyA, signed) + " " + hmacOf(keyB, signed)},
		{"an empty one signs nothing", []Secret{{}, keyB}, hmacOf(keyB, signed)},
	} {
		want := http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {"1772366400"}, "Webhook-Signature": {c.want}}
		if diff := cmp.Diff(want, Sign("msg_1", noon, body, c.keys...)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// The vector was computed with OpenSSL:
//
//	printf 'msg_1.1772366400.{"a":1}' | openssl dgst -sha256 -hmac 'a key of twenty-four byt' -binary | base64
func TestSign_agreesWithAnotherImplementation(t *testing.T) {
	t.Parallel()
	got := Sign("msg_1", noon, []byte(`{"a":1}`), keyA).Get("webhook-signature")
	if want := "v1,bVq6LZFSm5OJZyNqSeZnUaYYifyFQ2GmRKb1rb1UegI="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVerify_takesWhatOneOfTheSecretsSigned(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	two := Sign("msg_1", noon, body, keyA, keyB)
	supabase := signWith(", ", "msg_1", noon, body, []Secret{keyA, keyB})
	newer := Sign("msg_1", noon, body, keyA)
	newer.Set("Webhook-Signature", "v1a,AAAA v2,BBBB "+newer.Get("Webhook-Signature"))
	for _, c := range []struct {
		name string
		h    http.Header
		keys []Secret
	}{
		{"one", Sign("msg_1", noon, body, keyA), []Secret{keyA}},
		{"the receiver has two", Sign("msg_1", noon, body, keyB), []Secret{keyA, keyB}},
		{"the first of two", two, []Secret{keyA}},
		{"the second of two", two, []Secret{keyB}},
		{"Supabase's list, the first", supabase, []Secret{keyA}},
		{"Supabase's list, the second", supabase, []Secret{keyB}},
		{"beside versions of the future", newer, []Secret{keyA}},
	} {
		if err := Verify(c.h, body, noon, c.keys...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestVerify_refusesWhatWasNotSignedSo(t *testing.T) {
	t.Parallel()
	const body = `{"a":1}`
	for _, c := range []struct {
		name   string
		change func(http.Header)
		body   string
		keys   []Secret
	}{
		{"another body", func(http.Header) {}, `{"a":2}`, []Secret{keyA}},
		{"another secret", func(http.Header) {}, body, []Secret{keyB}},
		{"no secret", func(http.Header) {}, body, nil},
		{"an empty secret", func(h http.Header) {
			h.Set("Webhook-Signature", hmacOf(nil, "msg_1.1772366400."+body))
		}, body, []Secret{{}, nil}},
		{"another id", func(h http.Header) { h.Set("Webhook-Id", "msg_2") }, body, []Secret{keyA}},
		{"another time", func(h http.Header) { h.Set("Webhook-Timestamp", "1772366401") }, body, []Secret{keyA}},
		{"the time written otherwise", func(h http.Header) {
			h.Set("Webhook-Timestamp", "+1772366400")
			h.Set("Webhook-Signature", hmacOf(keyA, "msg_1.+1772366400."+body))
		}, body, []Secret{keyA}},
		{"no id", func(h http.Header) { h.Del("Webhook-Id") }, body, []Secret{keyA}},
		{"no time", func(h http.Header) { h.Del("Webhook-Timestamp") }, body, []Secret{keyA}},
		{"no signature", func(h http.Header) { h.Del("Webhook-Signature") }, body, []Secret{keyA}},
		{"an empty signature", func(h http.Header) { h.Set("Webhook-Signature", "v1,") }, body, []Secret{keyA}},
		{"half a signature", func(h http.Header) {
			h.Set("Webhook-Signature", h.Get("Webhook-Signature")[:27])
		}, body, []Secret{keyA}},
		{"without its version", func(h http.Header) {
			h.Set("Webhook-Signature", strings.TrimPrefix(h.Get("Webhook-Signature"), "v1,"))
		}, body, []Secret{keyA}},
	} {
		h := Sign("msg_1", noon, []byte(body), keyA)
		c.change(h)
		if err := Verify(h, []byte(c.body), noon, c.keys...); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", c.name, err)
		}
	}
}

// msg.1772366400.{…} could also be the id msg.1772366400 with a shorter body.
func TestVerify_refusesAnIDThatBlursTheParts(t *testing.T) {
	t.Parallel()
	h := Sign("msg_1", noon, []byte("1772366401.{}"), keyA)
	h.Set("Webhook-Id", "msg_1.1772366400")
	h.Set("Webhook-Timestamp", "1772366401")
	if err := Verify(h, []byte("{}"), noon, keyA); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v, want ErrSignature", err)
	}
}

func TestVerify_refusesReplaysOutOfTheWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   time.Time
		want error
	}{
		{noon.Add(-5 * time.Minute), nil},
		{noon.Add(5 * time.Minute), nil},
		{noon.Add(-5*time.Minute - time.Second), ErrStale},
		{noon.Add(5*time.Minute + time.Second), ErrStale},
		{time.Unix(0, 0), ErrStale},
		{time.Unix(-1<<62, 0), ErrStale},
		{time.Unix(1<<62, 0), ErrStale},
	} {
		if err := Verify(Sign("msg_1", c.at, nil, keyA), nil, noon, keyA); !errors.Is(err, c.want) {
			t.Errorf("signed at %v: got %v, want %v", c.at, err, c.want)
		}
	}
}

func TestParseSecret_readsBothForms(t *testing.T) {
	t.Parallel()
	for _, s := range []string{keyA.String(), "v1," + keyA.String(), " " + keyA.String() + "\n"} {
		got, err := ParseSecret(s)
		if err != nil || !bytes.Equal(got, keyA) {
			t.Errorf("%q: got %x, %v", s, []byte(got), err)
		}
	}
	if got, want := keyA.String(), "whsec_"+base64.StdEncoding.EncodeToString(keyA); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseSecret_refusesTheRestWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "hunter2", "whsec_", "whsec_hunter2", "v1,hunter2", "v1,v1," + keyA.String(), "v1a,whsk_hunter2:whpk_hunter2",
		"whsec_" + base64.StdEncoding.EncodeToString([]byte("hunter2")),
		"whsec_" + base64.StdEncoding.EncodeToString(keyA[:23]),
		"whsec_" + base64.RawStdEncoding.EncodeToString(append(keyA, 1)),
		"whsec_hunter2_" + strings.Repeat("A", 40), "whsec_" + strings.Repeat("A", 20) + "\n" + strings.Repeat("A", 20),
		keyA.String() + "|" + keyB.String(),
	} {
		got, err := ParseSecret(s)
		if err == nil || got != nil {
			t.Errorf("%q: got %x, %v, want an error", s, []byte(got), err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the message repeats the secret: %v", err)
		}
	}
}

func TestParseSecrets_readsAList(t *testing.T) {
	t.Parallel()
	got, err := ParseSecrets("v1," + keyA.String() + "|v1," + keyB.String())
	if err != nil || len(got) != 2 || !bytes.Equal(got[0], keyA) || !bytes.Equal(got[1], keyB) {
		t.Errorf("got %d secrets, %v", len(got), err)
	}
	for _, s := range []string{"", "|", keyA.String() + "|", keyA.String() + "|hunter2"} {
		if got, err := ParseSecrets(s); err == nil || got != nil {
			t.Errorf("%q: got %d secrets, want an error", s, len(got))
		}
	}
}

func TestNewSecret_isAnotherEachTimeAndReadsBack(t *testing.T) {
	t.Parallel()
	a, b := NewSecret(), NewSecret()
	if bytes.Equal(a, b) || len(a) != 32 {
		t.Errorf("got %d bytes, the same: %v", len(a), bytes.Equal(a, b))
	}
	if got, err := ParseSecret(a.String()); err != nil || !bytes.Equal(got, a) {
		t.Errorf("it does not read back: %v", err)
	}
}

func TestSecret_isPrintedByNothing(t *testing.T) {
	t.Parallel()
	client := privateClient(t)
	hook, err := NewHook(HookOptions{Name: "h", URI: "https://example.org/", Secrets: []Secret{keyA}, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	netlify, err := NewNetlify(NetlifyOptions{URL: "https://example.org/", Secret: keyA, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, v := range []any{keyA, []Secret{keyA}, &keyA, HookOptions{Secrets: []Secret{keyA}}, NetlifyOptions{Secret: keyA}, hook, netlify} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	b, err := json.Marshal(map[string]any{"a": keyA, "b": NetlifyOptions{Secret: keyA}.Secret})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, shown := range []string{
		string(keyA), base64.StdEncoding.EncodeToString(keyA), fmt.Sprintf("%x", string(keyA)), fmt.Sprintf("%X", string(keyA)),
		"97 32 107", "0x61, 0x20",
	} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%q is shown:\n%s", shown, out.String())
		}
	}
	if !strings.Contains(out.String(), masked) {
		t.Error("nothing was printed")
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{"", "whsec_", keyA.String(), "v1," + keyB.String(), "whsec_AAAA\nAAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseSecret(s)
		if err != nil {
			return
		}
		if len(a) < leastSecret {
			t.Errorf("%q: %d bytes", s, len(a))
		}
		if !strings.Contains(s, a.String()) {
			t.Errorf("%q is read as another secret, %s", s, a.String())
		}
		if b, err := ParseSecret(a.String()); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%q does not read back: %v", s, err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	body := []byte(`{"a":1}`)
	for _, h := range []http.Header{Sign("msg_1", noon, body, keyA), Sign("msg_1", noon, body, keyA, keyB), Sign("", noon, nil, keyB)} {
		f.Add(h.Get(headerID), h.Get(headerTimestamp), h.Get(headerSignature), body)
	}
	f.Add("a.b", "-9223372036854775808", "v1,, v1,", []byte(nil))
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		h := http.Header{headerID: {id}, headerTimestamp: {stamp}, headerSignature: {signature}}
		if Verify(h, body, noon, keyA) == nil && !strings.Contains(signature, hmacOf(keyA, id+"."+stamp+"."+string(body))) {
			t.Errorf("id %q, time %q, signature %q, body %q passed", id, stamp, signature, body)
		}
		// What is signed passes, and nothing but what is signed.
		if id == "" || strings.Contains(id, ".") {
			return
		}
		h = Sign(id, noon, body, keyA)
		if err := Verify(h, body, noon, keyA); err != nil {
			t.Errorf("id %q, body %q: %v", id, body, err)
		}
		if Verify(h, append(body, 'x'), noon, keyA) == nil {
			t.Errorf("id %q: a longer body passed", id)
		}
	})
}
