package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/fetch"
)

var (
	_, _, _, _, _ Texter     = (*Twilio)(nil), (*MessageBird)(nil), (*Vonage)(nil), (*Textlocal)(nil), (*SMSWebhook)(nil)
	_, _          CodeKeeper = (*TwilioVerify)(nil), (*keeperBreaker)(nil)
)

const (
	smsTo   = "491701234567"
	smsSays = "Your code is 424242"
)

// codeSMS is a code on its way to smsTo.
func codeSMS(channel string) SMS {
	return SMS{ID: "s-1", Kind: SMSCode, To: smsTo, Channel: channel, Code: "424242"}
}

// smsRequest is what a service received.
type smsRequest struct {
	Method, Path, Type, Auth string
	Form                     url.Values
	header                   http.Header
	body                     []byte
}

// smsService is a real server that answers as it is told and keeps what it
// was asked.
type smsService struct {
	url    string
	got    chan smsRequest
	status int
	answer string
}

func newSMSService(t *testing.T, status int, answer string) *smsService {
	t.Helper()
	s := &smsService{status: status, answer: answer, got: make(chan smsRequest, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := smsRequest{
			Method: r.Method, Path: r.URL.RequestURI(), Type: r.Header.Get("Content-Type"), Auth: r.Header.Get("Authorization"),
			header: r.Header, body: body,
		}
		if got.Type == "application/x-www-form-urlencoded" {
			if got.Form, err = url.ParseQuery(string(body)); err != nil {
				t.Error(err)
			}
		}
		s.got <- got
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(s.status)
		io.WriteString(w, s.answer)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func smsClient(t *testing.T) *fetch.Client {
	t.Helper()
	c := fetch.New(fetch.Options{AllowPrivate: true})
	t.Cleanup(c.Close)
	return c
}

// asked returns the only request there was.
func (s *smsService) asked(t *testing.T) smsRequest {
	t.Helper()
	select {
	case r := <-s.got:
		if len(s.got) > 0 {
			t.Error("the service was asked more than once")
		}
		return r
	default:
		t.Fatal("the service was not asked")
		return smsRequest{}
	}
}

func wantRequest(t *testing.T, got, want smsRequest) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool {
		return slices.Contains([]string{".header", ".body"}, p.Last().String())
	}, cmp.Ignore())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// smsAnswer is what a service says, and what that means.
type smsAnswer struct {
	name, answer string
	status       int
	want         string // the error; empty: none
	permanent    bool
}

// everyStatus are the answers by HTTP alone, as every service is to be read.
func everyStatus(service string) []smsAnswer {
	// An answer that repeats all it was told, as services do.
	echo := `{"message":"+491701234567 Your code is 424242 s3cret","detail":"the key s3cret"}`
	var list []smsAnswer
	for status, permanent := range map[int]bool{
		301: false, 400: true, 401: true, 402: true, 403: true, 404: true, 408: false, 410: true, 422: true, 429: false,
		500: false, 502: false, 503: false, 504: false,
	} {
		list = append(list, smsAnswer{
			name: http.StatusText(status), answer: echo, status: status,
			want: (&smsRefusal{service: service, status: status}).Error(), permanent: permanent,
		})
	}
	return list
}

// judge runs call against every answer of list, and against a service that is
// not there and one that hangs.
func judge(t *testing.T, list []smsAnswer, call func(c *fetch.Client, base string) error) {
	t.Helper()
	for _, a := range list {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := newSMSService(t, a.status, a.answer)
			err := call(smsClient(t), s.url)
			s.asked(t)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != a.want || Permanent(err) != a.permanent {
				t.Errorf("got %q, permanent %v; want %q, %v", got, Permanent(err), a.want, a.permanent)
			}
			quiet(t, err)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		if err := call(smsClient(t), gone.URL); !errors.Is(err, fetch.ErrUnreachable) || Permanent(err) {
			t.Errorf("got %v, want a temporary ErrUnreachable", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}))
		defer s.Close()
		c := fetch.New(fetch.Options{AllowPrivate: true, Timeout: 100 * time.Millisecond})
		defer c.Close()
		if err := call(c, s.URL); !errors.Is(err, fetch.ErrTimeout) || Permanent(err) {
			t.Errorf("got %v, want a temporary ErrTimeout", err)
		}
	})
}

// quiet checks that err tells nobody's number, code or key.
func quiet(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{smsTo, "1234567", "424242", "s3cret", "Your code"} {
		if err != nil && strings.Contains(err.Error(), s) {
			t.Errorf("the error tells %q: %v", s, err)
		}
	}
}

func TestGateway_refusesAddressesThatAreNone(t *testing.T) {
	for _, base := range []string{"api.example.org", "/messages", "ftp://example.org", "http://[::1", "https://"} {
		_, err := NewVonage(smsClient(t), VonageOptions{APIKey: "k", APISecret: "s3cret", From: "Us", BaseURL: base})
		if err == nil {
			t.Errorf("%q was taken", base)
		} else if strings.Contains(err.Error(), base) {
			t.Errorf("the error repeats the address: %v", err)
		}
	}
	if _, err := NewVonage(nil, VonageOptions{APIKey: "k", APISecret: "s3cret", From: "Us"}); err == nil {
		t.Error("a service without a client was taken")
	}
}

func TestTexters_askForTheSettingsTheyNeed(t *testing.T) {
	c := smsClient(t)
	for want, call := range map[string]func() error{
		"twilio: set the account SID": func() error {
			_, err := NewTwilio(c, TwilioOptions{AuthToken: "t", Sender: "MG1"})
			return err
		},
		"twilio: set the auth token": func() error {
			_, err := NewTwilio(c, TwilioOptions{AccountSID: "a", Sender: "MG1"})
			return err
		},
		"twilio: set the message service SID or number": func() error {
			_, err := NewTwilio(c, TwilioOptions{AccountSID: "a", AuthToken: "t"})
			return err
		},
		"twilio verify: set the service SID": func() error {
			_, err := NewTwilioVerify(c, TwilioVerifyOptions{AccountSID: "a", AuthToken: "t"})
			return err
		},
		"messagebird: set the access key": func() error {
			_, err := NewMessageBird(c, MessageBirdOptions{Originator: "Us"})
			return err
		},
		"messagebird: set the originator": func() error {
			_, err := NewMessageBird(c, MessageBirdOptions{AccessKey: "k"})
			return err
		},
		"vonage: set the API key": func() error {
			_, err := NewVonage(c, VonageOptions{APISecret: "s", From: "Us"})
			return err
		},
		"vonage: set the API secret": func() error {
			_, err := NewVonage(c, VonageOptions{APIKey: "k", From: "Us"})
			return err
		},
		"vonage: set the sender": func() error {
			_, err := NewVonage(c, VonageOptions{APIKey: "k", APISecret: "s"})
			return err
		},
		"textlocal: set the API key": func() error {
			_, err := NewTextlocal(c, TextlocalOptions{Sender: "Us"})
			return err
		},
		"textlocal: set the sender": func() error {
			_, err := NewTextlocal(c, TextlocalOptions{APIKey: "k"})
			return err
		},
	} {
		if err := call(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Without an address of their own they go to the services'.
func TestTexters_knowTheirServices(t *testing.T) {
	c := smsClient(t)
	twilio, err1 := NewTwilio(c, TwilioOptions{AccountSID: "a", AuthToken: "t", Sender: "MG1"})
	verify, err2 := NewTwilioVerify(c, TwilioVerifyOptions{AccountSID: "a", AuthToken: "t", ServiceSID: "VA1"})
	bird, err3 := NewMessageBird(c, MessageBirdOptions{AccessKey: "k", Originator: "Us"})
	vonage, err4 := NewVonage(c, VonageOptions{APIKey: "k", APISecret: "s", From: "Us"})
	textlocal, err5 := NewTextlocal(c, TextlocalOptions{APIKey: "k", Sender: "Us"})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	got := []string{twilio.line.base, verify.line.base, bird.line.base, vonage.line.base, textlocal.line.base}
	want := []string{
		"https://api.twilio.com", "https://verify.twilio.com", "https://rest.messagebird.com", "https://rest.nexmo.com", "https://api.textlocal.in",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTexters_withoutWhatsAppSayNo(t *testing.T) {
	s := newSMSService(t, 200, `{}`)
	c := smsClient(t)
	bird, _ := NewMessageBird(c, MessageBirdOptions{AccessKey: "k", Originator: "Us", BaseURL: s.url})
	vonage, _ := NewVonage(c, VonageOptions{APIKey: "k", APISecret: "s", From: "Us", BaseURL: s.url})
	textlocal, _ := NewTextlocal(c, TextlocalOptions{APIKey: "k", Sender: "Us", BaseURL: s.url})
	for _, x := range []Texter{bird, vonage, textlocal} {
		if err := x.Text(t.Context(), codeSMS(ChannelWhatsApp), smsSays); !Permanent(err) {
			t.Errorf("%T: got %v, want a permanent error", x, err)
		}
	}
	twilio, _ := NewTwilio(c, TwilioOptions{AccountSID: "a", AuthToken: "t", Sender: "MG1", BaseURL: s.url})
	if err := twilio.Text(t.Context(), codeSMS("pigeon"), smsSays); !Permanent(err) {
		t.Errorf("pigeon: got %v, want a permanent error", err)
	}
	if len(s.got) != 0 {
		t.Error("a service was asked all the same")
	}
}

func TestSMSWords_builtIn(t *testing.T) {
	w := NewSMSWords("", "de", nil)
	for _, c := range []struct {
		kind      SMSKind
		languages []string
		want      string
	}{
		{SMSCode, []string{"en"}, "Your code is 424242"},
		{SMSCode, []string{"en-GB", "de"}, "Your code is 424242"},
		{SMSCode, []string{"fr-CA"}, "Votre code est 424242"},
		{SMSCode, []string{"ja"}, "Ihr Code lautet 424242"},
		{SMSCode, nil, "Ihr Code lautet 424242"},
		{SMSAlreadyRegistered, []string{"en"}, "You already have an account with this number. If you did not just try to sign up, ignore this message."},
		{"greeting", []string{"en"}, ""},
	} {
		if got := w.Render(SMS{Kind: c.kind, Code: "424242", Languages: c.languages}); got != c.want {
			t.Errorf("%s %v: got %q, want %q", c.kind, c.languages, got, c.want)
		}
	}
	if got := NewSMSWords("", "", nil).Render(SMS{Kind: SMSCode, Code: "1"}); got != "Your code is 1" {
		t.Errorf("without a language: got %q, want English", got)
	}
}

func TestSMSWords_everyBuiltInTextIsOneMessage(t *testing.T) {
	for _, lang := range Languages() {
		texts := smsWords[lang]
		if len(texts) != 2 {
			t.Errorf("%s: there are %d texts, want 2", lang, len(texts))
		}
		for kind := range texts {
			m := SMS{Kind: kind, Code: "0123456789", Languages: []string{lang}}
			text := NewSMSWords("", "en", nil).Render(m)
			if n := len([]rune(text)); n > 160 || n == 0 || !gsm7(text) || strings.ContainsAny(text, "\r\n") {
				t.Errorf("%s %s: %d characters, GSM %v: %q", lang, kind, n, gsm7(text), text)
			}
			if has := strings.Contains(text, m.Code); has != (kind == SMSCode) {
				t.Errorf("%s %s: has the code: %v: %q", lang, kind, has, text)
			}
		}
	}
}

func TestSMSWords_operatorsTemplate(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"{{ .Code }} is yours at {{ .SiteURL }}", "424242 is yours at https://site.example"},
		{"{{.Code}}{{.Nobody}}!", "424242!"},
		{"  Code:\t{{ .Code }}\r\n\n@site.example #{{ .Code }}\n", "Code:424242\n\n@site.example #424242"},
		{"{{ printf \"%s\" .Code }}", "424242"},
		{"a\xffb {{.Code}}", "ab 424242"},

		{"", "Your code is 424242"},
		{" \n", "Your code is 424242"},
		{"{{ .Code", "Your code is 424242"},
		{"{{ nobody }}", "Your code is 424242"},
		{"{{ .Code.Deeper }}", "Your code is 424242"},
		{"{{ if false }}x{{ end }}", "Your code is 424242"},
		{`{{ define "x" }}more and {{ template "x" }}{{ end }}{{ template "x" }}`, "Your code is 424242"},
		{strings.Repeat("x", 1001), "Your code is 424242"},
		{strings.Repeat("x", 1000), strings.Repeat("x", 1000)},
	} {
		w := NewSMSWords(c.template, "en", nil)
		w.SiteURL = "https://site.example"
		if got := w.Render(codeSMS("")); got != c.want {
			t.Errorf("%.60q: got %q, want %q", c.template, got, c.want)
		}
	}
	if got := NewSMSWords("{{.Code}} at {{.SiteURL}}", "en", nil).Render(codeSMS("")); got != "424242 at" {
		t.Errorf("without a site: got %q", got)
	}
}

func TestSMSWords_operatorsTemplateIsForCodesOnly(t *testing.T) {
	w := NewSMSWords("Own {{ .Code }}", "en", nil)
	if got := w.Render(SMS{Kind: SMSAlreadyRegistered}); !strings.HasPrefix(got, "You already have an account") {
		t.Errorf("got %q", got)
	}
}

func TestSMSWords_logsFailuresWithoutTheCode(t *testing.T) {
	for _, template := range []string{"{{ .Code", "{{ .Code.Deeper }}", "{{ .Code }}" + strings.Repeat("x", 1000)} {
		var out bytes.Buffer
		NewSMSWords(template, "en", slog.New(slog.NewTextHandler(&out, nil))).Render(codeSMS(""))
		if !strings.Contains(out.String(), "using the built-in one") || strings.Contains(out.String(), "424242") {
			t.Errorf("%.20q: the log says %q", template, out.String())
		}
	}
}

func TestSMS_waitsInTheQueueAsJSON(t *testing.T) {
	want := SMS{ID: "1", Kind: SMSCode, To: smsTo, Channel: ChannelWhatsApp, Code: "424242", Languages: []string{"de"}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"id":"1","kind":"code","to":"491701234567","channel":"whatsapp","code":"424242","languages":["de"]}`
	if string(raw) != text {
		t.Errorf("got %s, want %s", raw, text)
	}
	var got SMS
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTestCodes_areKnownByNumberUntilTheirEnd(t *testing.T) {
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	codes, err := ParseTestCodes([]string{"+49 170 1234567:424242", " 15005550006 : 0000 , 447400000000:1234567890,", ""}, end)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{smsTo: "424242", "15005550006": "0000", "447400000000": "1234567890", "15005550007": "", "": ""} {
		if code, ok := codes.Code(to, end.Add(-1)); code != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", to, code, ok, want)
		}
		if code, ok := codes.Code(to, end); code != "" || ok {
			t.Errorf("%s: got %q after the end", to, code)
		}
	}
	if codes, err = ParseTestCodes([]string{smsTo + ":424242"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if code, ok := codes.Code(smsTo, end.AddDate(100, 0, 0)); !ok || code != "424242" {
		t.Errorf("without an end: got %q, %v", code, ok)
	}
	if _, ok := (TestCodes{}).Code(smsTo, end); ok {
		t.Error("the zero value knows a number")
	}
}

func TestParseTestCodes_namesTheEntryThatIsWrong(t *testing.T) {
	for _, list := range [][]string{
		{"491701234567:424242", "nonsense:424242"},
		{"491701234567:424242,491701234568"},
		{"491701234567:424242", "491701234568:"},
		{"491701234567:424242", "491701234568:123"},
		{"491701234567:424242", "491701234568:12345678901"},
		{"491701234567:424242", "491701234568:abcdef"},
		{"491701234567:424242", "491701234568:424242:1"},
		{"491701234567:424242", "0170123456:424242"},
		{"491701234567:424242", "+491701234567:434343"},
	} {
		codes, err := ParseTestCodes(list, time.Time{})
		if err == nil || !strings.Contains(err.Error(), "test code 2") {
			t.Errorf("%q: got %v, want an error about test code 2", list, err)
			continue
		}
		if _, ok := codes.Code(smsTo, time.Time{}); ok {
			t.Errorf("%q: half a list came back", list)
		}
		if strings.Contains(err.Error(), "424242") || strings.Contains(err.Error(), "434343") {
			t.Errorf("the error tells a code: %v", err)
		}
	}
}

func TestGSM7(t *testing.T) {
	for text, want := range map[string]bool{
		"Your code is 424242": true, "Grüße, déjà à 5 €": true, "[x] {y} ~": true, "": true,
		"être": false, "код": false, "😀": false, "„so“": false, "`": false,
	} {
		if got := gsm7(text); got != want {
			t.Errorf("gsm7(%q) = %v, want %v", text, got, want)
		}
	}
}

// funcTexter is a service in a function.
type funcTexter func(ctx context.Context, m SMS, body string) error

func (f funcTexter) Text(ctx context.Context, m SMS, body string) error { return f(ctx, m, body) }
