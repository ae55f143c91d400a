package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/fetch"
	"gatehouse/internal/limit"
	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/pages"
	"gatehouse/internal/web"
)

type serveCmd struct{}

// Run is where the house is put together; read it first.
func (serveCmd) Run(ctx context.Context, e env) (err error) {
	// 1. What the operator wants.
	cfg, err := load(e)
	if err != nil {
		return err
	}
	log, logFile, err := logger(e, cfg.Log)
	if err != nil {
		return err
	}
	defer logFile.Close()

	// 2. The address, first: links are built from it.
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Server.Addr())
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; is another server running? GATEHOUSE_PORT sets the port, 0 any free one", err)
	}
	if err != nil {
		return fmt.Errorf("%w; GATEHOUSE_API_HOST and GATEHOUSE_PORT say where to listen", err)
	}
	defer ln.Close()
	cfg.Listening(ln.Addr().String())

	// 3. What is remembered, and the rules.
	db, err := openDB(ctx, e, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var mails *outbox.Worker
	h, err := build(ctx, e, cfg, db, func() { mails.Wake() }, log)
	if err != nil {
		return err
	}

	// 4. Who delivers.
	defer h.out.Close()
	mails = outbox.New(outbox.Options{
		DB: db, Root: h.root, Templates: templates(cfg, h.out, log), Sender: h.sender, Texter: h.texts.sender, Words: h.texts.words,
		Work: h.auth.Work, Unsent: h.auth.Undelivered, Log: log,
	})

	// 5. Who speaks.
	handler, err := edges(h)
	if err != nil {
		return err
	}
	last := &drain{next: handler}
	srv := &http.Server{
		Handler: last, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}

	// 6. Open the doors.
	defer runtime.KeepAlive(ballast())
	err = banner(ctx, e, h, "http://"+ln.Addr().String(), h.inbox != nil)
	if err != nil {
		return err
	}
	stopping := func(ctx context.Context) { last.until(ctx, draining(cfg)) }
	return serve(ctx, srv, ln, log, stopping, mails.Run, h.keepKeys, h.renewKeys, h.watchClock, h.sweep)
}

// ballast is memory nobody touches, so it costs no RAM, but the garbage
// collector counts it: with the few megabytes that live here it would run at
// every few more, for a quarter of the CPU of a GET /user. A larger GOGC would
// do the same and let the heap of a flood of sign-ins grow without measure.
func ballast() []byte { return make([]byte, 26<<20) }

// serve runs srv and the jobs until ctx ends or one of them fails, then lets
// what is under way finish: first the requests, those that come while last
// runs too, then the jobs.
func serve(ctx context.Context, srv *http.Server, ln net.Listener, log *slog.Logger, last func(context.Context), jobs ...func(context.Context) error) error {
	jobCtx, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJobs()
	ended := make(chan error, len(jobs))
	for _, job := range jobs {
		go func() { ended <- job(jobCtx) }()
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	var err error
	running := len(jobs)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		last(context.WithoutCancel(ctx))
	case err = <-served: // never http.ErrServerClosed: nobody has closed it yet
	case err = <-ended:
		running--
		if err == nil {
			err = errors.New("a background job ended")
		}
	}
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	shut := srv.Shutdown(down)
	if shut != nil {
		shut = errors.Join(shut, srv.Close())
	}
	stopJobs()
	for range running {
		err = errors.Join(err, <-ended)
	}
	return errors.Join(err, shut)
}

// sender is how mail leaves: by SMTP, into the development inbox, or not at
// all.
func sender(cfg *config.Config, log *slog.Logger) (notify.Sender, *notify.Inbox, error) {
	s := cfg.SMTP
	switch {
	case s.Host != "":
		smtp, err := notify.NewSMTP(notify.SMTPOptions{
			Host: s.Host, Port: s.Port, User: s.User, Pass: s.Password.Reveal(), From: s.From, FromName: s.SenderName, TLS: s.TLS, Timeout: s.Timeout,
			Headers: s.Headers,
		})
		return smtp, nil, err
	case cfg.DevInbox():
		in := notify.NewInbox(time.Now)
		return in, in, nil
	}
	return nowhere{log}, nil, nil
}

// nowhere is GATEHOUSE_MAIL=none.
type nowhere struct{ log *slog.Logger }

func (n nowhere) Send(_ context.Context, m notify.Mail, _ notify.Rendered) error {
	n.log.Info("a mail was thrown away, because GATEHOUSE_MAIL=none", "id", m.ID, "mail", m.Kind)
	return nil
}

func templates(cfg *config.Config, out *fetch.Client, log *slog.Logger) *notify.Templates {
	return notify.NewTemplates(notify.Options{
		Subjects: kinds(cfg.Mailer.Subjects), Bodies: kinds(cfg.Mailer.Templates), SiteURL: cfg.Site.URL, Language: cfg.Mailer.Language,
		MaxAge: cfg.Mailer.TemplateMaxAge, MaxSize: cfg.Mailer.TemplateMaxSize, RetryInterval: cfg.Mailer.TemplateRetry, Now: time.Now, Log: log,
		Fetch: func(ctx context.Context, url string) ([]byte, error) {
			b, _, err := out.Get(ctx, url)
			if errors.Is(err, fetch.ErrRefused) {
				err = fmt.Errorf("%w; use a public https address, or for development set GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", err)
			}
			return b, err
		},
	})
}

func kinds(m config.Mails) map[notify.Kind]string {
	return map[notify.Kind]string{
		notify.Invite: m.Invite, notify.Confirmation: m.Confirmation, notify.Recovery: m.Recovery,
		notify.MagicLink: m.MagicLink, notify.EmailChange: m.EmailChange, notify.Reauthentication: m.Reauthentication,
		notify.PasswordChanged: m.PasswordChanged, notify.EmailChanged: m.EmailChanged, notify.PhoneChanged: m.PhoneChanged,
		notify.IdentityLinked: m.IdentityLinked, notify.IdentityUnlinked: m.IdentityUnlinked, notify.NewDevice: m.NewDevice,
	}
}

// edges mounts everything that speaks HTTP.
func edges(h *house) (http.Handler, error) {
	cfg := h.cfg
	redirects, err := web.NewRedirects(cfg.Site.URL, cfg.Site.Redirects)
	if err != nil {
		return nil, err
	}
	per5 := func(n float64) limit.Rate { return limit.Rate{Events: n, Per: 5 * time.Minute, Burst: 30} }
	limits := &web.Limits{
		Limiter: limit.New(time.Now), Off: cfg.RateLimit.Limits == "off",
		Rates: map[string]limit.Rate{
			"otp": per5(cfg.RateLimit.OTP), "token": per5(cfg.RateLimit.TokenRefresh), "verify": per5(cfg.RateLimit.Verify),
			"anonymous": {Events: cfg.RateLimit.Anonymous, Per: time.Hour, Burst: int(cfg.RateLimit.Anonymous)},
		},
	}
	o := gotrue.Options{
		Auth: h.auth, Redirects: redirects, Limits: limits, ExternalURL: cfg.Server.ExternalURL, SiteURL: cfg.Site.URL,
		LinkHosts: cfg.Mailer.ExternalHosts, Manners: gotrue.Manners(cfg.Server.Dialect), LinkStyle: gotrue.Manners(cfg.Mailer.LinkStyle),
		LinkPaths: map[auth.Kind]string{
			auth.KindInvite: cfg.Mailer.URLPaths.Invite, auth.KindConfirmation: cfg.Mailer.URLPaths.Confirmation,
			auth.KindRecovery: cfg.Mailer.URLPaths.Recovery, auth.KindMagicLink: cfg.Mailer.URLPaths.Recovery,
			auth.KindChangeCurrent: cfg.Mailer.URLPaths.EmailChange, auth.KindChangeNew: cfg.Mailer.URLPaths.EmailChange,
		},
		DirectLinks: cfg.Mailer.LinkMode == "direct", CookieName: cfg.Cookie.Key, CookieLife: cfg.Cookie.Life.Duration(), Version: version,
		SMSProvider: cfg.SMS.Provider, CursorPages: cfg.Site.CursorPages,
	}
	api, err := gotrue.New(o)
	if err != nil {
		return nil, err
	}
	flow, err := gotrue.Flow(o)
	if err != nil {
		return nil, err
	}
	if o.Manners == gotrue.Auto {
		o.Manners = gotrue.Netlify // only its clients look for this path
	}
	netlify, err := gotrue.New(o)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/auth/v1/", http.StripPrefix("/auth/v1", api))
	mux.Handle("/.netlify/identity/", http.StripPrefix("/.netlify/identity", netlify))
	po := pages.Options{Auth: h.auth, Flow: flow, Limits: limits, SiteURL: cfg.Site.URL, ExternalURL: cfg.Server.ExternalURL, Version: version}
	if h.inbox != nil {
		po.Inbox = h.inbox
	}
	pages.Mount(mux, po)
	trusted := append([]string{web.Origin(cfg.Site.URL)}, cfg.Server.CORSOrigins...)
	return &web.Server{
		Next: &web.CORS{Next: mux, Trusted: trusted, Headers: cfg.Server.CORSHeaders},
		Log:  h.log, Now: time.Now, RequestIDHeader: cfg.Server.RequestIDHeader, AddressHeader: cfg.RateLimit.Header,
		Timeout: cfg.Server.MaxRequestDuration, Large: make(chan struct{}, 8),
	}, nil
}

// banner prints what a newcomer needs next. address is where the server
// listens, which need not be where others reach it.
func banner(ctx context.Context, e env, h *house, address string, inbox bool) error {
	url := h.cfg.Server.ExternalURL
	link, offered, err := h.auth.OfferSetup(ctx)
	if err != nil && auth.CodeOf(err) != auth.Unavailable { // else serving is worth more than the offer
		return err
	}
	text := fmt.Sprintf(`Gatehouse %s is listening on %s

  First sign-up  curl -s %s/signup -H 'Content-Type: application/json' -d '{"email":"you@example.com","password":"correct horse battery"}'
`, version, address, url)
	if inbox {
		text += fmt.Sprintf("  Its mail       %s/dev/inbox\n", address) // not shown through a proxy
	}
	if offered {
		text += fmt.Sprintf("  First admin    %s/setup?token=%s  (works once, for 30 minutes)\n", url, link)
	}
	_, err = fmt.Fprintln(e.out, text)
	return err
}
