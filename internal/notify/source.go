package notify

import (
	"context"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"net/url"
	"strings"
	"time"
)

// fetchLimit bounds one attempt to get a template, whatever Fetch itself
// allows: the mail must not wait for a site that hangs.
const fetchLimit = 10 * time.Second

// source is one template of the operator's: where it is, and the last good
// copy of it.
type source struct {
	from string
	// turn holds one token for whoever may touch the fields below. It is a
	// channel because those who wait for a fetch must be able to give up.
	turn   chan struct{}
	tmpl   *htmltemplate.Template // nil: never had
	goodAt time.Time              // when tmpl was got
	badAt  time.Time              // when the last attempt failed; zero: it did not
}

func newSource(from string) *source {
	return &source{from: from, turn: make(chan struct{}, 1)}
}

// load returns the template of s, fetched anew if it is too old, or the stale
// copy if that fails, or nil if there is none. The error is ctx's.
func (t *Templates) load(ctx context.Context, s *source, kind Kind) (*htmltemplate.Template, error) {
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
	tmpl, err := t.obtain(ctx, s.from)
	if ctx.Err() != nil {
		// Not the template's fault: it must not count as a failed attempt.
		return nil, ctx.Err()
	}
	if err != nil {
		s.badAt = now
		use := "the built-in one"
		if s.tmpl != nil {
			use = "the last good copy"
		}
		t.opt.Log.Warn("mail template could not be loaded; using "+use, "kind", kind, "from", withoutSecrets(s.from), "err", err)
		return s.tmpl, nil
	}
	s.tmpl, s.goodAt, s.badAt = tmpl, now, time.Time{}
	return tmpl, nil
}

// obtain reads and parses the template that from names.
func (t *Templates) obtain(ctx context.Context, from string) (*htmltemplate.Template, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	raw, err := t.read(ctx, from)
	if err != nil {
		return nil, err
	}
	if len(raw) > t.opt.MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", t.opt.MaxSize)
	}
	tmpl, err := htmltemplate.New("mail").Parse(string(raw))
	if err != nil {
		return nil, err
	}
	// html/template finds unsafe places only when it first runs. A newer copy
	// with such a fault must not replace a good one; other failures may be due
	// to the missing data and are judged when a mail is written.
	var unsafe *htmltemplate.Error
	if _, err := execute(tmpl, t.variables(Mail{})); errors.As(err, &unsafe) {
		return nil, err
	}
	return tmpl, nil
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
