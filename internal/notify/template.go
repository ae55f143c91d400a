package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
)

// Options configure Templates. The zero value renders the built-in mails.
type Options struct {
	// Subjects are text/template sources that take the place of the built-in
	// subjects.
	Subjects map[Kind]string
	// Bodies say where the HTML of a kind is: an http(s) URL, a file, or a path
	// beginning with "/" that is fetched from SiteURL if no such file exists.
	// Empty: built in.
	//
	// "{lang}" in it stands for a language, as "de" or "pt-BR": one the reader
	// prefers, or else Language. A template may define "subject", which goes
	// before Subjects.
	Bodies map[Kind]string
	// Language is what readers get of whose own there is nothing, as a BCP 47
	// tag. Empty: "en".
	Language string
	// SiteURL is the address of the site that users come from.
	SiteURL string
	// Fetch gets a URL; it must be guarded, since operators of a tenant may
	// name any address. Its error is logged as it is, so it should name the
	// mend where it knows one. Nil: every fetch fails.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	// ReadFile reads a file, or fails with fs.ErrNotExist. Nil: the file
	// system. Where tenants choose Bodies MayRead must keep it from them, or they
	// would mail themselves the server's files.
	ReadFile func(name string) ([]byte, error)
	// MayRead says whether Bodies may name a file; one that may not be read is not
	// there. Nil: any may.
	MayRead func(name string) bool
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
	subjects map[Kind]*texttemplate.Template // the operator's
	bodies   *sources
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
	if o.Language == "" {
		o.Language = English
	}
	if len(preferred([]string{o.Language})) == 0 {
		o.Log.Warn("the language of mails is not a BCP 47 tag; using English", "language", o.Language)
		o.Language = English
	}
	if o.Fetch == nil {
		o.Fetch = func(context.Context, string) ([]byte, error) {
			return nil, errors.New("fetching templates is switched off")
		}
	}
	if o.ReadFile == nil {
		o.ReadFile = func(name string) ([]byte, error) { return readFile(name, o.MaxSize) }
	}
	if read := o.ReadFile; o.MayRead != nil {
		o.ReadFile = func(name string) ([]byte, error) {
			if !o.MayRead(name) {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return read(name)
		}
	}
	t := &Templates{opt: o, subjects: map[Kind]*texttemplate.Template{}, bodies: newSources()}
	for _, kind := range Kinds() {
		if s := o.Subjects[kind]; s != "" {
			own, err := texttemplate.New("subject").Parse(s)
			if err != nil {
				o.Log.Warn("mail subject is not a valid template; using the built-in one", "kind", kind, "err", err)
				continue
			}
			t.subjects[kind] = own
		}
	}
	return t
}

// Render puts m into words, those of the language its reader likes best among
// what there is. A template of the operator's that cannot be had, parsed or
// executed is logged and the built-in one takes its place, because a plain mail
// is better than none. The text of a mail with the operator's HTML is made from
// that HTML. Render fails only if m.Kind is unknown (a *PermanentError) or ctx
// is done.
func (t *Templates) Render(ctx context.Context, m Mail) (Rendered, error) {
	if !slices.Contains(Kinds(), m.Kind) {
		return Rendered{}, &PermanentError{fmt.Errorf("there is no kind of mail named %q", m.Kind)}
	}
	lang := Choose(m.Languages, t.opt.Language)
	words := dictionaries()[lang]
	data := t.variables(m, lang)

	r, err := t.own(ctx, m, data)
	if err != nil {
		return Rendered{}, err
	}
	if s := t.subjects[m.Kind]; s != nil && r.Subject == "" {
		s, err := execute(s, data)
		if err != nil {
			t.opt.Log.Warn("mail subject failed; using the built-in one", "kind", m.Kind, "mail", m.ID, "err", err)
		}
		r.Subject = oneLine(s)
	}
	if r.Subject == "" {
		s, err := execute(words.subject[m.Kind], data)
		if err != nil {
			return Rendered{}, err
		}
		r.Subject = oneLine(s)
	}
	if r.HTML != "" {
		// The built-in text would say something else, in another language
		// perhaps, to those who read without HTML.
		if r.Text = plain(r.HTML); r.Text == "" { // nothing but pictures
			r.Text = r.Subject
		}
		return r, nil
	}
	if r.HTML, err = execute(words.html[m.Kind], data); err != nil {
		return Rendered{}, err
	}
	if r.Text, err = execute(words.text[m.Kind], data); err != nil {
		return Rendered{}, err
	}
	return r, nil
}

// own renders the operator's HTML for m and the subject defined in it. Both
// are empty where there is nothing to be had. The error is ctx's.
func (t *Templates) own(ctx context.Context, m Mail, data map[string]any) (Rendered, error) {
	builtin := data["Lang"]
	// However many languages are tried, the mail waits for one hanging site.
	budget, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	for _, c := range t.candidates(m) {
		tmpl, err := t.load(ctx, budget, c, m.Kind)
		if err != nil {
			return Rendered{}, err
		}
		if tmpl == nil {
			continue
		}
		if c.lang != "" {
			data["Lang"] = c.lang
		}
		page, err := execute(tmpl.page, data)
		if err != nil {
			t.opt.Log.Warn("mail template failed; using "+c.otherwise, "kind", m.Kind, "mail", m.ID, "language", c.lang, "err", err)
		}
		if err != nil || strings.TrimSpace(page) == "" {
			data["Lang"] = builtin
			continue
		}
		r := Rendered{HTML: page}
		if tmpl.subject != nil {
			s, err := execute(tmpl.subject, data)
			if err != nil {
				t.opt.Log.Warn("subject in a mail template failed; using another", "kind", m.Kind, "mail", m.ID, "language", c.lang, "err", err)
			}
			r.Subject = oneLine(s)
		}
		return r, nil
	}
	return Rendered{}, nil
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
