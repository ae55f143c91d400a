package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"
)

// Listener serves what is for operators, on an address of its own: never on the
// one that everybody reaches.
type Listener struct {
	name string
	ln   net.Listener
	srv  *http.Server
	log  *slog.Logger
}

// Listen takes an address, host:port. Call Run, or Close.
func Listen(ctx context.Context, name, addr string, h http.Handler, log *slog.Logger) (*Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(ln.Addr().String())
	if err == nil {
		a, err := netip.ParseAddr(host)
		if err == nil && a.IsLoopback() {
			h = onlyHere(h)
		}
	}
	l := &Listener{name: name, ln: ln, log: log, srv: &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		WriteTimeout: 5 * time.Minute, // a profile is as long as it was asked for
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	return l, nil
}

// Addr is where it listens.
func (l *Listener) Addr() string { return l.ln.Addr().String() }

// Run serves until ctx ends, and a second longer what is under way. Should it
// end before, the log tells, and nothing else: the server goes on without.
func (l *Listener) Run(ctx context.Context) error {
	l.log.Info(l.name+" are served", "address", l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- l.srv.Serve(l.ln) }()
	select {
	case <-ctx.Done():
	case err := <-ended:
		l.log.Error(l.name+" are served no longer", "err", err)
		<-ctx.Done()
		return nil
	}
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := l.srv.Shutdown(down)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.srv.Close()
	}
	return err
}

// Close gives the address back. After Run it does nothing.
func (l *Listener) Close() error {
	err := l.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// onlyHere refuses requests for names that are not this machine's: a page in
// the operator's browser whose name was made to lead to 127.0.0.1 (DNS
// rebinding) could read everything else.
func onlyHere(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		name, _, err := net.SplitHostPort(host)
		if err == nil {
			host = name
		}
		_, err = netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil && !strings.EqualFold(host, "localhost") {
			http.Error(w, "this is served to localhost alone", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Profiler answers below /debug/pprof/ what the Go tools ask for. It tells
// neither settings nor what is in memory, but where the program spends its
// time, and each profile costs some of it.
func Profiler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
