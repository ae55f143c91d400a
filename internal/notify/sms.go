package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"gatehouse/internal/fetch"
	"gatehouse/internal/phone"
)

// SMSKind says what a text message is about.
type SMSKind string

// The kinds of text message.
const (
	SMSCode              SMSKind = "code"               // confirms a number or signs in
	SMSAlreadyRegistered SMSKind = "already_registered" // somebody signed up again with a confirmed number; no code in it
)

// The values of SMS.Channel.
const (
	ChannelSMS      = "sms"
	ChannelWhatsApp = "whatsapp"
)

// SMS is a text message as it waits in the queue.
type SMS struct {
	ID        string   `json:"id"`             // unique; the same at every attempt
	User      string   `json:"user,omitempty"` // the id of the user it is about
	Kind      SMSKind  `json:"kind"`
	For       string   `json:"for,omitempty"`     // of a code: what the answer is to, "sms", "phone_change", "reauthentication"
	To        string   `json:"to"`                // E.164 without +
	Channel   string   `json:"channel,omitempty"` // ChannelSMS (also empty) or ChannelWhatsApp
	Code      string   `json:"code,omitempty"`
	Languages []string `json:"languages,omitempty"` // what the receiver reads, best first
}

// Texter sends one text message. It returns nil once the message is somebody
// else's duty, a *PermanentError if trying again is of no use, and any other
// error if it may be tried later. No error's text holds the number, the code,
// a key, or words of the service, which like to repeat all three.
type Texter interface {
	Text(ctx context.Context, m SMS, body string) error
}

// CodeKeeper is a Texter whose service makes up the codes itself and judges
// what people type.
type CodeKeeper interface {
	Texter
	// CheckCode reports whether code is the one last sent to the number to
	// (E.164 without +). A code is good once; false is also the answer when
	// none is waited for any more.
	CheckCode(ctx context.Context, to, code string) (bool, error)
}

// smsLimit is the most bytes a text message has. Messages cost by the 153
// characters; what is longer than a few of these is a template gone wild.
const smsLimit = 1000

// smsWords are the built-in text messages by language: no accents outside GSM
// 03.38, whose alphabet holds twice as many letters in one message, and one
// message each. The English words of the code are GoTrue's.
var smsWords = map[string]map[SMSKind]string{
	"en": {
		SMSCode:              "Your code is {{ .Code }}",
		SMSAlreadyRegistered: "You already have an account with this number. If you did not just try to sign up, ignore this message.",
	},
	"de": {
		SMSCode:              "Ihr Code lautet {{ .Code }}",
		SMSAlreadyRegistered: "Zu dieser Nummer gibt es bereits ein Konto. Falls Sie sich nicht gerade registrieren wollten, ignorieren Sie diese Nachricht.",
	},
	"fr": {
		SMSCode:              "Votre code est {{ .Code }}",
		SMSAlreadyRegistered: "Un compte existe déjà avec ce numéro. Si vous n'avez pas essayé de vous inscrire, ignorez ce message.",
	},
}

// SMSWords turns text messages into words. It is safe for concurrent use.
type SMSWords struct {
	// SiteURL is what templates show as .SiteURL. Set it before the first use.
	SiteURL string

	language string
	log      *slog.Logger
	own      *texttemplate.Template // the operator's, or nil
	builtin  map[string]map[SMSKind]*texttemplate.Template
}

// NewSMSWords prepares the words. template is the operator's text for codes, a
// Go text/template that knows .Code and .SiteURL, or empty for the built-in
// ones; one that cannot be parsed is logged and not used. language is for
// those whose own is not there. log may be nil.
func NewSMSWords(template, language string, log *slog.Logger) *SMSWords {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &SMSWords{language: language, log: log, builtin: map[string]map[SMSKind]*texttemplate.Template{}}
	for lang, texts := range smsWords {
		w.builtin[lang] = map[SMSKind]*texttemplate.Template{}
		for kind, text := range texts {
			w.builtin[lang][kind] = texttemplate.Must(texttemplate.New("sms").Parse(text))
		}
	}
	if strings.TrimSpace(template) == "" {
		return w
	}
	own, err := texttemplate.New("sms").Parse(template)
	if err != nil {
		log.Warn("sms template is not a valid template; using the built-in one", "err", err)
		return w
	}
	w.own = own
	return w
}

// CheckSMSTemplate says what keeps template, of NewSMSWords, from being used.
func CheckSMSTemplate(template string) error {
	_, err := texttemplate.New("sms").Parse(template)
	if err != nil {
		return fmt.Errorf("it is not a Go template: %w", err)
	}
	return nil
}

// Render puts m into words. The operator's template is for codes only: without
// a code its sentence would make no sense. Where it fails, the built-in text
// takes its place. A kind that is not known has no words.
func (w *SMSWords) Render(m SMS) string {
	// A map, so that a name of another server's shows a gap instead of failing.
	data := map[string]any{"Code": m.Code, "SiteURL": w.SiteURL}
	if w.own != nil && m.Kind == SMSCode {
		text, err := smsText(w.own, data)
		if err != nil {
			w.log.Warn("sms template failed; using the built-in one", "sms", m.ID, "err", err)
		} else if text != "" {
			return text
		}
	}
	texts := w.builtin[Choose(m.Languages, w.language)]
	if texts == nil {
		texts = w.builtin["en"]
	}
	tmpl := texts[m.Kind]
	if tmpl == nil {
		return ""
	}
	text, err := smsText(tmpl, data)
	if err != nil {
		w.log.Warn("sms has no words", "sms", m.ID, "err", err)
	}
	return text
}

// smsText runs tmpl and drops what has no place in a message. Line breaks of
// the operator's stay: codes that browsers fill in for one site only stand in
// a last line of their own (Origin-bound one-time codes).
func smsText(tmpl *texttemplate.Template, data map[string]any) (string, error) {
	out := &bounded{left: smsLimit}
	if err := tmpl.Execute(out, data); err != nil {
		return "", err
	}
	text := strings.ReplaceAll(out.String(), "<no value>", "")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimSpace(text), nil
}

// TestCodes are numbers that get no message and always have the same code, for
// the reviewers of app stores and for tests. The zero value has none.
type TestCodes struct {
	codes map[string]string
	until time.Time
}

// ParseTestCodes reads entries like "491701234567:123456"; one string may hold
// several with commas between. The codes are good until the instant until,
// zero: for ever. Errors name the entry by its place, not by its code.
func ParseTestCodes(list []string, until time.Time) (TestCodes, error) {
	t := TestCodes{codes: map[string]string{}, until: until}
	n := 0
	for entry := range strings.SplitSeq(strings.Join(list, ","), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		n++
		number, code, _ := strings.Cut(entry, ":")
		to, ok := phone.Clean(strings.TrimSpace(number))
		code = strings.TrimSpace(code)
		switch {
		case !ok:
			return TestCodes{}, fmt.Errorf("sms: test code %d: the number is not an international one; write number:code, like 491701234567:123456", n)
		case len(code) < 4 || len(code) > 10 || strings.Trim(code, "0123456789") != "":
			return TestCodes{}, fmt.Errorf("sms: test code %d: a code has 4 to 10 digits; write number:code, like 491701234567:123456", n)
		case t.codes[to] != "":
			return TestCodes{}, fmt.Errorf("sms: test code %d: this number is in the list already", n)
		}
		t.codes[to] = code
	}
	return t, nil
}

// Code returns the code of the number to (E.164 without +), if it is one for
// tests and now is early enough.
func (t TestCodes) Code(to string, now time.Time) (string, bool) {
	if !t.until.IsZero() && !now.Before(t.until) {
		return "", false
	}
	code, ok := t.codes[to]
	return code, ok
}

// smsRefusal is what a service answered instead of taking a message. It keeps
// numbers only: the service's words repeat the receiver and what was sent.
type smsRefusal struct {
	service string
	status  int // HTTP status
	code    int // the service's own number for the fault; zero: none
}

// Error reads "twilio: status 400, code 21211".
func (e *smsRefusal) Error() string {
	if e.code == 0 {
		return fmt.Sprintf("%s: status %d", e.service, e.status)
	}
	return fmt.Sprintf("%s: status %d, code %d", e.service, e.status, e.code)
}

// gateway is one service's end of the line.
type gateway struct {
	name   string
	client *fetch.Client
	base   string // without a slash at the end
	// code finds the service's number for a fault in an answer; zero: none.
	code func(body []byte) int
}

// newGateway checks base, or takes standard if it is empty.
func newGateway(name string, client *fetch.Client, base, standard string, code func([]byte) int) (gateway, error) {
	if base == "" {
		base = standard
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		// Not the text itself: it may carry a password or a token.
		return gateway{}, fmt.Errorf("%s: the address is no http(s) URL", name)
	}
	if client == nil {
		return gateway{}, fmt.Errorf("%s: there is no HTTP client", name)
	}
	return gateway{name: name, client: client, base: strings.TrimRight(base, "/"), code: code}, nil
}

// form posts fields to path and returns the body of a 2xx answer. sign may add
// headers.
func (g gateway) form(ctx context.Context, path string, fields url.Values, sign func(*http.Request)) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+path, strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%s: the request cannot be written", g.name)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if sign != nil {
		sign(req)
	}
	return g.do(ctx, req)
}

// do sends req and returns the body of a 2xx answer.
func (g gateway) do(ctx context.Context, req *http.Request) ([]byte, error) {
	req.Header.Set("Accept", "application/json")
	res, err := g.client.Do(ctx, req)
	var status *fetch.StatusError
	if errors.As(err, &status) {
		return nil, g.refused(status.Code, g.code(res.Body), status.Code >= 400 && status.Code < 500)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	return res.Body, nil
}

// refused is the error of a refusal; permanent if another attempt would only
// repeat it. Statuses that ask to come back are never permanent.
func (g gateway) refused(status, code int, permanent bool) error {
	err := &smsRefusal{service: g.name, status: status, code: code}
	if permanent && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
		return &PermanentError{err}
	}
	return err
}

// unreadable is the error of a 2xx answer that is not what the service
// promises: a proxy's page, or half an answer.
func (g gateway) unreadable() error {
	return fmt.Errorf("%s: the answer is not understood", g.name)
}

// onlySMS refuses channels a service does not have.
func (g gateway) onlySMS(m SMS) error {
	if m.Channel != "" && m.Channel != ChannelSMS {
		return &PermanentError{fmt.Errorf("%s: cannot send over the channel that was asked for", g.name)}
	}
	return nil
}

// required names the first setting of pairs (name, value, …) that is empty.
func required(service string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return fmt.Errorf("%s: set the %s", service, pairs[i])
		}
	}
	return nil
}

// number is a JSON number that some services write as a string.
type number int

func (n *number) UnmarshalJSON(b []byte) error {
	*n = 0
	if v := strings.Trim(string(b), `"`); v != "null" && v != "" {
		return json.Unmarshal([]byte(v), (*int)(n))
	}
	return nil
}

// gsm7 reports whether text can be sent in the alphabet of GSM 03.38; other
// letters turn into question marks unless a service is told.
func gsm7(text string) bool {
	const alphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà" + "\f^{}\\[~]|€"
	return !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(alphabet, r) })
}
