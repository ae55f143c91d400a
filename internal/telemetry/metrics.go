package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Most values of one label. A label is a series in everybody's memory, here and
// at who collects them: what a stranger may choose must never become one, and a
// fault of ours must not fill either.
const (
	mostRoutes = 500
	mostEvents = 200
	mostLimits = 100
)

// other is the label of all values past the most.
const other = "other"

// Metrics counts what happens, for Prometheus. It has a registry of its own;
// its methods may be called from many goroutines. No label tells of a user, a
// tenant, an address or a path.
type Metrics struct {
	registry  *prometheus.Registry
	log       *slog.Logger
	requests  *prometheus.CounterVec
	took      *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	events    *prometheus.CounterVec
	refreshed prometheus.Counter
	refused   *prometheus.CounterVec

	routes, names, limits *bound
}

// NewMetrics returns counters at zero.
func NewMetrics(s Sources, log *slog.Logger) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), log: log,
		routes: newBound(mostRoutes), names: newBound(mostEvents), limits: newBound(mostLimits),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_http_requests_total", Help: "Requests answered, by route, method and class of status.",
		}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_http_request_duration_seconds", Help: "How long requests took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method", "status"}),
		inFlight:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_http_requests_in_flight", Help: "Requests being answered."}),
		events:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_events_total", Help: "Events of the audit trail, by name, that this node committed."}, []string{"event"}),
		refreshed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_sessions_refreshed_total", Help: "Sessions that went on to their next refresh token on this node."}),
		refused:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_rate_limit_refusals_total", Help: "Requests refused by a rate limit, by its name."}, []string{"limit"}),
	}
	m.registry.MustRegister(
		m.requests, m.took, m.inFlight, m.events, m.refreshed, m.refused, &sources{Sources: s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_build_info", Help: "1, with the version of the program and of Go.",
			ConstLabels: prometheus.Labels{"version": s.Version, "go": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return m
}

// Request counts a request that was answered. route is the pattern that
// matched, such as "GET /user", never a path; empty or "none" when none did.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	route = m.routes.keep(RouteOf(route))
	method = MethodOf(method)
	class := classOf(status)
	m.requests.WithLabelValues(route, method, class).Inc()
	m.took.WithLabelValues(route, method, class).Observe(took.Seconds())
}

// Happened counts an event by its name.
func (m *Metrics) Happened(event string) { m.events.WithLabelValues(m.names.keep(event)).Inc() }

// Refreshed counts a session that was refreshed.
func (m *Metrics) Refreshed() { m.refreshed.Inc() }

// Refused counts a request that a rate limit refused.
func (m *Metrics) Refused(limit string) { m.refused.WithLabelValues(m.limits.keep(limit)).Inc() }

// InFlight counts the requests that are in next.
func (m *Metrics) InFlight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		next.ServeHTTP(w, r)
	})
}

// Handler answers "GET /metrics" with everything.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: complaints{m.log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	}))
	return mux
}

// complaints is the log of what could not be told.
type complaints struct{ log *slog.Logger }

// Println writes a line (promhttp.Logger).
func (c complaints) Println(v ...any) { c.log.Warn("metrics could not be told", "why", v) }

// RouteOf is a pattern without its method and host, or "none".
func RouteOf(pattern string) string {
	if pattern == "" || pattern == "none" || strings.HasPrefix(pattern, "none ") {
		return "none"
	}
	_, path, ok := strings.Cut(pattern, " ")
	if !ok {
		path = pattern
	}
	return path
}

// MethodOf is a method that HTTP knows, or "other": a client may send any word
// (RFC 9110 §9.1).
func MethodOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		http.MethodConnect, http.MethodTrace:
		return method
	}
	return other
}

// classOf is 2xx for 204. A handler that wrote nothing has answered 200.
func classOf(status int) string {
	switch {
	case status == 0:
		return "2xx"
	case status < 100 || status > 599:
		return other
	}
	return string(rune('0'+status/100)) + "xx"
}

// bound lets so many values through and no more.
type bound struct {
	most int
	mu   sync.RWMutex    // guards seen
	seen map[string]bool // at most so many
}

func newBound(most int) *bound { return &bound{most: most, seen: map[string]bool{}} }

func (b *bound) keep(v string) string {
	b.mu.RLock()
	known, full := b.seen[v], len(b.seen) >= b.most
	b.mu.RUnlock()
	switch {
	case known:
		return v
	case full:
		return other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seen[v] && len(b.seen) >= b.most {
		return other
	}
	b.seen[v] = true
	return v
}

// sources turns Sources into metrics when somebody asks.
type sources struct{ Sources }

var (
	hashing = prometheus.NewDesc("gatehouse_password_hashes", "Passwords being hashed or compared, and those waiting for their turn.", []string{"state"}, nil)
	turned  = prometheus.NewDesc("gatehouse_password_hashes_refused_total", "Passwords turned away because too many were waiting.", nil, nil)
	conns   = prometheus.NewDesc("gatehouse_database_connections", "Connections to the database that are open, and of these in use.", []string{"state"}, nil)
	waits   = prometheus.NewDesc("gatehouse_database_connection_waits_total", "How often no connection to the database was free.", nil, nil)
	mails   = prometheus.NewDesc("gatehouse_outbox_deliveries", "Messages to be sent, and those that never will be.", []string{"state"}, nil)
	hooks   = prometheus.NewDesc("gatehouse_webhook_deliveries", "Webhooks to be delivered, and those that never will be.", []string{"state"}, nil)
	lines   = prometheus.NewDesc("gatehouse_log_lines_dropped_total", "Lines of the log that could not be written.", nil, nil)
	spans   = prometheus.NewDesc("gatehouse_trace_spans_dropped_total", "Spans that did not reach the collector of traces.", nil, nil)
)

// Describe says nothing: which of them there are depends on the sources
// (prometheus.Collector).
func (s *sources) Describe(chan<- *prometheus.Desc) {}

// Collect asks every source (prometheus.Collector).
func (s *sources) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, state string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), state)
	}
	counter := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	if s.Hashing != nil {
		h := s.Hashing()
		gauge(hashing, h.Running, "running")
		gauge(hashing, h.Waiting, "waiting")
		counter(turned, h.Refused)
	}
	if s.Database != nil {
		c := s.Database()
		gauge(conns, c.Open, "open")
		gauge(conns, c.InUse, "in_use")
		counter(waits, c.Waits)
	}
	if s.DroppedLines != nil {
		counter(lines, s.DroppedLines())
	}
	if s.DroppedSpans != nil {
		counter(spans, s.DroppedSpans())
	}
	queue := func(d *prometheus.Desc, count func(context.Context) (int, int, error)) {
		if count == nil {
			return
		}
		// What the database does not tell now is left out, and the rest is told.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		waiting, dead, err := count(ctx)
		if err == nil {
			gauge(d, waiting, "waiting")
			gauge(d, dead, "dead")
		}
	}
	queue(mails, s.Mails)
	queue(hooks, s.Webhooks)
}
