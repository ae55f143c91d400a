package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/store"
	"gatehouse/internal/telemetry"
	"gatehouse/internal/web"
)

// observation is what operators see of the server at work. What is not turned
// on is nil, and costs nothing.
type observation struct {
	metrics   *telemetry.Metrics
	tracing   *telemetry.Tracing
	listeners []*telemetry.Listener
	out       *fetch.Client // to the collector
	ready     *readiness
}

// observe begins to watch a house. lines is where its log goes.
func observe(ctx context.Context, e env, h *house, lines *telemetry.Log) (*observation, error) {
	o := &observation{ready: newReadiness(e, h)}
	err := o.begin(ctx, h, lines)
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *observation) begin(ctx context.Context, h *house, lines *telemetry.Log) error {
	cfg := h.plan.Load().base.Telemetry
	if cfg.Tracing {
		err := o.trace(ctx, cfg, h.log)
		if err != nil {
			return err
		}
	}
	if cfg.Metrics {
		o.metrics = telemetry.NewMetrics(o.sources(h, lines), h.log)
		h.db.Watch(func(name string) {
			if name == store.Refreshed {
				o.metrics.Refreshed()
			} else {
				o.metrics.Happened(name)
			}
		})
		err := o.listen(ctx, "metrics", cfg.MetricsAddr(), o.metrics.Handler(), h.log, "GATEHOUSE_METRICS_HOST and GATEHOUSE_METRICS_PORT say where they are served")
		if err != nil {
			return err
		}
	}
	if cfg.Profiler {
		return o.listen(ctx, "profiles", cfg.ProfilerAddr(), telemetry.Profiler(), h.log, "GATEHOUSE_PROFILER_HOST and GATEHOUSE_PROFILER_PORT say where they are served")
	}
	return nil
}

func (o *observation) trace(ctx context.Context, cfg config.Telemetry, log *slog.Logger) (err error) {
	// The operator alone names the collector, and most are neighbours.
	o.out = fetch.New(fetch.Options{AllowPrivate: true, MaxConcurrent: 2})
	o.tracing, err = telemetry.NewTracing(ctx, telemetry.TraceOptions{
		Endpoint: cfg.Collector(), Headers: cfg.CollectorHeaders(), Transport: byFetch{o.out}, Service: cfg.TracingService, Version: version,
		Tags: cfg.Tags(), Ratio: cfg.TracingRatio, Log: log,
	})
	return err
}

func (o *observation) sources(h *house, lines *telemetry.Log) telemetry.Sources {
	s := telemetry.Sources{
		Version: version, DroppedLines: lines.Dropped,
		Hashing: func() (l telemetry.Hashing) {
			l.Running, l.Waiting, l.Refused = h.hasher.Load()
			return l
		},
		Database: func() telemetry.Connections { return telemetry.Connections(h.db.Pool()) },
		Mails: func(ctx context.Context) (waiting, dead int, err error) {
			err = h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
				waiting, dead, err = tx.CountDeliveries()
				return err
			})
			return waiting, dead, err
		},
		Webhooks: func(ctx context.Context) (waiting, dead int, err error) {
			err = h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
				waiting, dead, err = tx.CountWebhooks()
				return err
			})
			return waiting, dead, err
		},
	}
	if o.tracing != nil {
		s.DroppedSpans = o.tracing.Dropped
	}
	return s
}

func (o *observation) listen(ctx context.Context, name, addr string, h http.Handler, log *slog.Logger, mend string) error {
	l, err := telemetry.Listen(ctx, name, addr, h, log)
	if err != nil {
		return fmt.Errorf("%s: %w; %s", name, err, mend)
	}
	o.listeners = append(o.listeners, l)
	return nil
}

// over watches what s answers, and answers itself when it is asked how the
// server does.
func (o *observation) over(s *web.Server) http.Handler {
	s.Next = &probes{ready: o.ready, next: s.Next}
	if o.tracing != nil {
		s.Trace = o.tracing.Begin
	}
	if o.metrics == nil {
		return s
	}
	s.Observe, s.Refused = o.metrics.Request, o.metrics.Refused
	return o.metrics.InFlight(s)
}

// drain is the last seconds of next, of which the readiness is to know.
func (o *observation) drain(next http.Handler) *drain {
	last := &drain{next: next}
	o.ready.draining = last.on.Load
	return last
}

// jobs serve what is for operators alone.
func (o *observation) jobs() (jobs []func(context.Context) error) {
	for _, l := range o.listeners {
		jobs = append(jobs, l.Run)
	}
	return jobs
}

// close sends what is left to send.
func (o *observation) close() {
	for _, l := range o.listeners {
		_ = l.Close() // after Run there is nothing to close
	}
	if o.tracing != nil {
		o.tracing.Close()
	}
	if o.out != nil {
		o.out.Close()
	}
}

// byFetch is a fetch.Client for those who need an http.RoundTripper.
type byFetch struct{ out *fetch.Client }

// RoundTrip makes a request (http.RoundTripper).
func (g byFetch) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := g.out.Do(r.Context(), r)
	var status *fetch.StatusError
	if err != nil && !errors.As(err, &status) {
		return nil, err
	}
	return &http.Response{
		StatusCode: res.Status, Status: http.StatusText(res.Status), Header: res.Header, Request: r, ContentLength: int64(len(res.Body)),
		Body: io.NopCloser(bytes.NewReader(res.Body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// logger writes to the file or the stream the configuration names.
func logger(e env, cfg config.Log, level slog.Leveler) (*slog.Logger, *telemetry.Log, error) {
	stream, isFile := e.err.(*os.File)
	text := cfg.Format == "text" || cfg.Format == "auto" && cfg.File == "" && isFile && terminal(stream)
	lines, err := logLines(e, cfg.File)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w; GATEHOUSE_LOG_FILE names it", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	if text {
		return slog.New(slog.NewTextHandler(lines, opts)), lines, nil
	}
	return slog.New(slog.NewJSONHandler(lines, opts)), lines, nil
}

func logLines(e env, file string) (*telemetry.Log, error) {
	if file == "" {
		return telemetry.NewLog(e.err), nil
	}
	return telemetry.OpenLog(under(e, file))
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
