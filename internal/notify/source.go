package notify

import (
	"context"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
)

// fetchLimit bounds the search for the template of one mail, whatever Fetch
// itself allows: the mail must not wait for a site that hangs.
const fetchLimit = 10 * time.Second

// source is one template of the operator's: where it is, and the last good
// copy of it.
type source struct {
	from string
	// turn holds one token for whoever may touch the fields below. It is a
	// channel because those who wait for a fetch must be able to give up.
	turn   chan struct{}
	tmpl   *template // nil: never had
	goodAt time.Time // when tmpl was got
	badAt  time.Time // when the last attempt failed; zero: it did not
}

// template is a mail of the operator's.
type template struct {
	page    *htmltemplate.Template
	subject *texttemplate.Template // nil: it defines none
}

func newSource(from string) *source {
	return &source{from: from, turn: make(chan struct{}, 1)}
}

// candidate is a place where the template of a mail may be.
type candidate struct {
	from      string
	lang      string // what stands for "{lang}"; empty: it is not there
	otherwise string // what is used if there is nothing, for the log
	last      bool   // of the candidates
}

// candidates returns where the operator's template for m may be, best first.
func (t *Templates) candidates(m Mail) []candidate {
	const holder = "{lang}"
	from := t.opt.Bodies[m.Kind]
	if from == "" {
		return nil
	}
	if !strings.Contains(from, holder) {
		return []candidate{{from: from, otherwise: "the built-in one", last: true}}
	}
	var list []candidate
	for _, tag := range wanted(m.Languages, t.opt.Language) {
		list = append(list, candidate{from: strings.ReplaceAll(from, holder, tag), lang: tag, otherwise: "that of the next language"})
	}
	if n := len(list); n > 0 {
		list[n-1].otherwise, list[n-1].last = "the built-in one", true
	}
	return list
}

// load returns the template at c, fetched anew if it is too old, or the stale
// copy if that fails or budget is spent, or nil if there is none. The error is
// ctx's, of which budget is a part.
func (t *Templates) load(ctx, budget context.Context, c candidate, kind Kind) (*template, error) {
	s := t.bodies.at(c.from)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := t.opt.Now()
	if s.tmpl != nil && now.Sub(s.goodAt) < t.opt.MaxAge {
		return s.tmpl, nil
	}
	if !s.badAt.IsZero() && now.Sub(s.badAt) < t.opt.RetryInterval {
		return s.tmpl, nil
	}
	tmpl, err := t.obtain(budget, s.from)
	if ctx.Err() != nil {
		// Not the template's fault: it must not count as a failed attempt.
		return nil, ctx.Err()
	}
	if err != nil {
		s.badAt = now
		use, level := c.otherwise, slog.LevelWarn
		if s.tmpl != nil {
			use = "the last good copy"
		} else if !c.last && errors.As(err, new(readError)) {
			// Nobody has templates in all the languages that readers have.
			level = slog.LevelDebug
		}
		t.opt.Log.Log(ctx, level, "mail template could not be loaded; using "+use, "kind", kind, "from", withoutSecrets(s.from), "err", err)
		return s.tmpl, nil
	}
	s.tmpl, s.goodAt, s.badAt = tmpl, now, time.Time{}
	t.bodies.keep(c.from)
	return tmpl, nil
}

// readError marks a template that could not be had at all.
type readError struct{ error }

// Unwrap returns what it wraps.
func (e readError) Unwrap() error { return e.error }

// obtain reads and parses the template that from names.
func (t *Templates) obtain(ctx context.Context, from string) (*template, error) {
	raw, err := t.read(ctx, from)
	if err != nil {
		return nil, readError{err}
	}
	if len(raw) > t.opt.MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", t.opt.MaxSize)
	}
	page, err := htmltemplate.New("mail").Parse(string(raw))
	if err != nil {
		return nil, err
	}
	// html/template finds unsafe places only when it first runs. A newer copy
	// with such a fault must not replace a good one; other failures may be due
	// to the missing data and are judged when a mail is written.
	var unsafe *htmltemplate.Error
	if _, err := execute(page, t.variables(Mail{}, English)); errors.As(err, &unsafe) {
		return nil, err
	}
	// A subject is no HTML: it is read again, without escaping.
	text, err := texttemplate.New("mail").Parse(string(raw))
	if err != nil {
		return nil, err
	}
	return &template{page, text.Lookup("subject")}, nil
}

func (t *Templates) read(ctx context.Context, from string) ([]byte, error) {
	if isURL(from) {
		return t.opt.Fetch(ctx, from)
	}
	raw, err := t.opt.ReadFile(from)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(from, "/") || !isURL(t.opt.SiteURL) {
		return raw, err
	}
	// Netlify GoTrue keeps its templates on the site: SITE_URL + path.
	return t.opt.Fetch(ctx, strings.TrimRight(t.opt.SiteURL, "/")+from)
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// withoutSecrets is from as a log may show it.
func withoutSecrets(from string) string {
	if !isURL(from) {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return "an unreadable URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
