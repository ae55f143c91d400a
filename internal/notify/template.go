package notify

import (
	"context"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
)

//go:embed templates/*.html templates/*.txt
var builtin embed.FS

// subjects are the built-in subjects. Those of GoTrue are kept word for word,
// because people filter and test by them.
func subjects() map[Kind]string {
	return map[Kind]string{
		Invite:            "You have been invited",
		Confirmation:      "Confirm Your Signup",
		Recovery:          "Reset Your Password",
		MagicLink:         "Your Magic Link",
		EmailChange:       "Confirm Email Change",
		Reauthentication:  "Confirm Reauthentication",
		AlreadyRegistered: "You already have an account",
	}
}

// Options configure Templates. The zero value renders the built-in mails.
type Options struct {
	// Subjects are text/template sources that take the place of the built-in
	// subjects.
	Subjects map[Kind]string
	// Bodies say where the HTML of a kind is: an http(s) URL, a file, or a path
	// beginning with "/" that is fetched from SiteURL if no such file exists.
	// Empty: built in.
	Bodies map[Kind]string
	// SiteURL is the address of the site that users come from.
	SiteURL string
	// Fetch gets a URL; it must be guarded, since operators of a tenant may
	// name any address. Its error is logged as it is, so it should name the
	// mend where it knows one. Nil: every fetch fails.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	// ReadFile reads a file, or fails with fs.ErrNotExist. Nil: the file
	// system. Where tenants choose Bodies it must find nothing, or they would
	// mail themselves the server's files.
	ReadFile func(name string) ([]byte, error)
	// MaxAge is how long a fetched template is good. Zero: 10 min.
	MaxAge time.Duration
	// MaxSize is the most bytes of a template. Zero: 1,000,000.
	MaxSize int
	// RetryInterval is the least time between two attempts after a failed one.
	// Zero: 10 s.
	RetryInterval time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log hears of templates that could not be used. Nil: nobody does.
	Log *slog.Logger
}

// Templates turns mails into words. It is safe for concurrent use.
type Templates struct {
	opt      Options
	html     map[Kind]*htmltemplate.Template
	text     map[Kind]*texttemplate.Template
	subjects map[Kind]*texttemplate.Template // built in
	own      map[Kind]*texttemplate.Template // the operator's
	bodies   map[Kind]*source
}

// NewTemplates prepares the templates of o. Nothing is fetched yet. A subject
// that cannot be parsed is logged and the built-in one used.
func NewTemplates(o Options) *Templates {
	if o.MaxAge <= 0 {
		o.MaxAge = 10 * time.Minute
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 1_000_000
	}
	if o.RetryInterval <= 0 {
		o.RetryInterval = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // where the clock enters
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Fetch == nil {
		o.Fetch = func(context.Context, string) ([]byte, error) {
			return nil, errors.New("fetching templates is switched off")
		}
	}
	if o.ReadFile == nil {
		o.ReadFile = func(name string) ([]byte, error) { return readFile(name, o.MaxSize) }
	}
	t := &Templates{
		opt:      o,
		html:     map[Kind]*htmltemplate.Template{},
		text:     map[Kind]*texttemplate.Template{},
		subjects: map[Kind]*texttemplate.Template{},
		own:      map[Kind]*texttemplate.Template{},
		bodies:   map[Kind]*source{},
	}
	for kind, subject := range subjects() {
		name := "templates/" + string(kind)
		t.html[kind] = htmltemplate.Must(htmltemplate.ParseFS(builtin, "templates/layout.html", name+".html"))
		t.text[kind] = texttemplate.Must(texttemplate.ParseFS(builtin, "templates/layout.txt", name+".txt"))
		t.subjects[kind] = texttemplate.Must(texttemplate.New("subject").Parse(subject))
		if s := o.Subjects[kind]; s != "" {
			own, err := texttemplate.New("subject").Parse(s)
			if err != nil {
				o.Log.Warn("mail subject is not a valid template; using the built-in one", "kind", kind, "err", err)
			} else {
				t.own[kind] = own
			}
		}
		if from := o.Bodies[kind]; from != "" {
			t.bodies[kind] = newSource(from)
		}
	}
	return t
}

// Render puts m into words. A template of the operator's that cannot be had,
// parsed or executed is logged and the built-in one takes its place, because a
// plain mail is better than none. The text of a mail with the operator's HTML
// is made from that HTML. Render fails only if m.Kind is unknown (a
// *PermanentError) or ctx is done.
func (t *Templates) Render(ctx context.Context, m Mail) (Rendered, error) {
	if t.html[m.Kind] == nil {
		return Rendered{}, &PermanentError{fmt.Errorf("there is no kind of mail named %q", m.Kind)}
	}
	data := t.variables(m)
	r := Rendered{}

	if own := t.own[m.Kind]; own != nil {
		s, err := execute(own, data)
		if err != nil {
			t.opt.Log.Warn("mail subject failed; using the built-in one", "kind", m.Kind, "mail", m.ID, "err", err)
		}
		r.Subject = oneLine(s)
	}
	if r.Subject == "" {
		s, err := execute(t.subjects[m.Kind], data)
		if err != nil {
			return Rendered{}, err
		}
		r.Subject = oneLine(s)
	}

	own, err := t.ownBody(ctx, m, data)
	if err != nil {
		return Rendered{}, err
	}
	if own != "" {
		// The built-in text would say something else, in another language
		// perhaps, to those who read without HTML.
		r.HTML, r.Text = own, plain(own)
		if r.Text == "" { // nothing but pictures
			r.Text = r.Subject
		}
		return r, nil
	}
	if r.HTML, err = execute(t.html[m.Kind], data); err != nil {
		return Rendered{}, err
	}
	if r.Text, err = execute(t.text[m.Kind], data); err != nil {
		return Rendered{}, err
	}
	return r, nil
}

// ownBody renders the operator's HTML for m, or returns "" where there is none
// to be had. The error is ctx's.
func (t *Templates) ownBody(ctx context.Context, m Mail, data map[string]any) (string, error) {
	src := t.bodies[m.Kind]
	if src == nil {
		return "", nil
	}
	own, err := t.load(ctx, src, m.Kind)
	if own == nil || err != nil {
		return "", err
	}
	page, err := execute(own, data)
	if err != nil {
		t.opt.Log.Warn("mail template failed; using the built-in one", "kind", m.Kind, "mail", m.ID, "err", err)
		return "", nil
	}
	if strings.TrimSpace(page) == "" {
		return "", nil
	}
	return page, nil
}

// variables are the names templates know. It is a map, not a struct, so that a
// template written for another server, with a name we lack, shows a gap there
// instead of failing.
func (t *Templates) variables(m Mail) map[string]any {
	v := m.Vars
	if v.SiteURL == "" {
		v.SiteURL = t.opt.SiteURL
	}
	if v.SendingTo == "" {
		v.SendingTo = m.To
	}
	if v.ConfirmationURL == "" {
		v.ConfirmationURL = v.SupabaseURL
		if m.Netlify {
			v.ConfirmationURL = v.NetlifyURL
		}
	}
	if v.Data == nil {
		v.Data = map[string]any{}
	}
	token := v.Token
	if m.Netlify {
		token = v.TokenHash
	}
	site := v.SiteURL
	if u, err := url.Parse(site); err == nil && u.Host != "" {
		site = u.Host
	}
	if m.Kind == AlreadyRegistered {
		// Whoever typed the address asked for this mail, not its owner: it must
		// not open anything, not even in an operator's template.
		v.ConfirmationURL, v.NetlifyURL, v.SupabaseURL, v.RedirectTo = "", "", "", ""
		v.Token, v.TokenHash, v.Data, token = "", "", map[string]any{}, ""
	}
	return map[string]any{
		"SiteURL":         v.SiteURL,
		"SiteHost":        site,
		"ConfirmationURL": v.ConfirmationURL,
		"NetlifyURL":      v.NetlifyURL,
		"SupabaseURL":     v.SupabaseURL,
		"Email":           v.Email,
		"NewEmail":        v.NewEmail,
		"SendingTo":       v.SendingTo,
		"Token":           token,
		"Code":            v.Token,
		"TokenHash":       v.TokenHash,
		"RedirectTo":      v.RedirectTo,
		"Data":            v.Data,
	}
}

// renderLimit is the most bytes one rendered template may have: a template
// that calls itself would otherwise fill the memory.
const renderLimit = 4 << 20

// execute runs a template of html/template or text/template, and stops it at
// renderLimit.
func execute(tmpl interface {
	Execute(w io.Writer, data any) error
}, data map[string]any,
) (string, error) {
	w := &bounded{left: renderLimit}
	if err := tmpl.Execute(w, data); err != nil {
		return "", err
	}
	// How text/template shows a name that is not there.
	return strings.ReplaceAll(w.String(), "<no value>", ""), nil
}

// bounded is a buffer that fails once it is full.
type bounded struct {
	strings.Builder
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the template writes more than the size limit")
	}
	return b.Builder.Write(p)
}

// oneLine makes s fit for a header: line breaks in a name must not begin a
// header of their own (header injection), and nothing needs more than 200
// characters.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	}), " ")
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	return io.ReadAll(io.LimitReader(f, int64(limit)+1))
}
