package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/web"
)

type serveCmd struct{}

// multiCmd is what Netlify's server calls serving many instances.
type multiCmd struct{}

// Run serves.
func (multiCmd) Run(ctx context.Context, e env) error {
	e.environ = append(slices.Clone(e.environ), "GATEHOUSE_MULTIINSTANCEMODE=true")
	return serveCmd{}.Run(ctx, e)
}

// Run is where the house is put together; read it first.
func (serveCmd) Run(ctx context.Context, e env) (err error) {
	// 1. What the operator wants. Whoever asks for a reload too early or too late
	// must not end the server by it: the signal is taken to the last.
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	base, err := load(e)
	if err != nil {
		return err
	}
	cfg := base.Config
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level.Level())
	log, logFile, err := logger(e, cfg.Log, level)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }() // nothing is left to tell it to

	// 2. The address, first: links are built from it.
	ln, err := listen(ctx, cfg)
	if err != nil {
		return err
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
	h, err := build(ctx, e, base, db, func() { mails.Wake() }, log)
	if err != nil {
		return err
	}

	// 4. Who delivers.
	defer h.out.Close()
	h.level, h.address = level, "http://"+ln.Addr().String()
	mails = outbox.New(outbox.Options{DB: db, Post: h.postOf, Log: log})
	courier := h.courier()

	// 5. Who speaks.
	_, err = h.serving(h.site) // a fault of the settings shows now, and not with the first request
	if err != nil {
		return err
	}
	watch, err := observe(ctx, e, h, logFile)
	if err != nil {
		return err
	}
	defer watch.close()
	var doors front
	doors.set(watch.over(h.edges()))
	last := watch.drain(&web.Valve{Next: &doors, Most: cfg.HTTP.MaxRequests, Log: log, Now: time.Now})
	conns := web.NewConns(cfg.HTTP.MaxConnections)
	conns.Crowded = lean()
	srv := web.NewHTTPServer(last, web.HTTPLimits{
		Header: cfg.HTTP.MaxHeader, Idle: cfg.HTTP.Idle, Longest: cfg.Server.MaxRequestDuration,
		HSTS: h.byHTTPS, Conns: conns,
		Log: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	})

	// 6. Open the doors.
	defer runtime.KeepAlive(ballast())
	err = banner(ctx, e, h, h.address, h.inbox != nil)
	if err != nil {
		return err
	}
	stopping := func(ctx context.Context) { last.until(ctx, draining(cfg)) }
	reloading := func(ctx context.Context) error {
		return h.reloading(ctx, again, func() {
			err := logFile.Reopen()
			if err != nil {
				log.Error("the log file could not be opened again", "err", err)
			}
		}, func() { doors.set(watch.over(h.edges())) })
	}
	return serve(ctx, srv, ln, log, stopping, append(watch.jobs(), reloading, mails.Run, courier.Run, h.dir.Watch, h.keepKeys, h.renewKeys, h.refreshMetadata, h.watchClock, h.sweep, h.sealer(courier.Wake).Run)...)
}

// listen opens the address of the settings.
func listen(ctx context.Context, cfg *config.Config) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Server.Addr())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; is another server running? GATEHOUSE_PORT sets the port, 0 any free one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; GATEHOUSE_API_HOST and GATEHOUSE_PORT say where to listen", err)
	}
	return ln, nil
}

// ballast is memory nobody touches, so it costs no RAM, but the garbage
// collector counts it: with the few megabytes that live here it would run at
// every few more, for a quarter of the CPU of a GET /user. A larger GOGC would
// do the same and let the heap of a flood of sign-ins grow without measure.
func ballast() []byte { return make([]byte, 26<<20) }

// lean returns what has the garbage collector come more often while
// thousands of connections are open. What they hold lives on, so the collector
// would let as much again grow beside it.
func lean() func(crowded bool) {
	usual := 0
	return func(crowded bool) {
		if crowded {
			usual = debug.SetGCPercent(10)
			return
		}
		debug.SetGCPercent(usual)
	}
}

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

// sender is how a tenant's mail leaves: by SMTP, into the development inbox, or
// not at all. A mail server that the server's own
// settings do not name is called at a public address: those inside take mail from
// neighbours for whoever they say they are.
func sender(cfg, server *config.Config, out *fetch.Client, log *slog.Logger, inbox func() *notify.Inbox) (notify.Sender, *notify.Inbox, error) {
	s := cfg.SMTP
	switch {
	case s.Host != "":
		guard := out.Guard()
		if s.Host == server.SMTP.Host && s.Port == server.SMTP.Port {
			guard = nil
		}
		smtp, err := notify.NewSMTP(notify.SMTPOptions{
			Control: guard, Host: s.Host, Port: s.Port, User: s.User, Pass: s.Password.Reveal(), From: s.From, FromName: s.SenderName, TLS: s.TLS, Timeout: s.Timeout,
			Headers: s.Headers,
		})
		return smtp, nil, err
	case cfg.DevInbox():
		in := inbox()
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

// templates are how a tenant's mails look. The files they may come from are those
// that the server's own settings name: a tenant that named others would have the
// master key mailed to itself.
func templates(cfg, server *config.Config, out *fetch.Client, log *slog.Logger) *notify.Templates {
	files := kinds(server.Mailer.Templates)
	return notify.NewTemplates(notify.Options{
		MayRead:  func(name string) bool { return slices.Contains(slices.Collect(maps.Values(files)), name) },
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

// banner prints what a newcomer needs next. address is where the server
// listens, which need not be where others reach it.
func banner(ctx context.Context, e env, h *house, address string, inbox bool) error {
	url := h.cfg.Server.ExternalURL
	if h.cfg.Tenants.Multi { // a browser sends no x-nf-sign: no link would lead anywhere
		_, err := fmt.Fprintf(e.out, "Gatehouse %s is listening on %s\n\n  Instances are made at %s/instances, and each request names its own in x-nf-sign\n\n", version, address, url)
		return err
	}
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
