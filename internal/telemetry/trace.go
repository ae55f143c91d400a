package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	spanQueue     = 2048            // spans kept for the collector; more are dropped
	spanBatch     = 512             // of these in one request
	spanEvery     = 2 * time.Second // how long a span waits for others
	spanTimeout   = 5 * time.Second // of one request to the collector
	traceFarewell = 2 * time.Second // what the end of the server waits for the collector
)

// TraceOptions say where traces go.
type TraceOptions struct {
	Endpoint  string            // of the collector, http or https; /v1/traces is added to its path (OTLP/HTTP)
	Headers   map[string]string // of every request to it
	Transport http.RoundTripper // how it is reached
	Service   string            // service.name
	Version   string            // service.version
	Tags      map[string]string // more attributes of the service
	Ratio     float64           // of the requests that bring no verdict of their own: 0 none, 1 all
	Log       *slog.Logger
}

// Tracing makes a span of every request and sends it to a collector. Its
// methods may be called from many goroutines.
type Tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	gate     *gate
}

// NewTracing returns a Tracing that sends from now on, until Close.
func NewTracing(ctx context.Context, o TraceOptions) (*Tracing, error) {
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(strings.TrimRight(o.Endpoint, "/")+"/v1/traces"), otlptracehttp.WithHeaders(o.Headers),
		otlptracehttp.WithHTTPClient(&http.Client{Transport: o.Transport, Timeout: spanTimeout}),
		otlptracehttp.WithTimeout(spanTimeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		// A collector that is down for longer costs spans, not memory.
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: 200 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: spanTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	about := []attribute.KeyValue{attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)}
	for k, v := range o.Tags {
		about = append(about, attribute.String(k, v))
	}
	g := &gate{exporter: exporter, log: o.Log, ended: make(chan struct{})}
	g.late, g.giveUp = context.WithCancel(context.Background())
	g.SpanProcessor = sdk.NewBatchSpanProcessor(g.sent(),
		sdk.WithMaxQueueSize(2*spanQueue), // the gate is full before
		sdk.WithMaxExportBatchSize(spanBatch), sdk.WithBatchTimeout(spanEvery), sdk.WithExportTimeout(2*spanTimeout))
	t := &Tracing{
		gate: g,
		provider: sdk.NewTracerProvider(
			sdk.WithResource(resource.NewSchemaless(about...)), sdk.WithSpanProcessor(g),
			// Who calls decides for itself whether its trace is whole.
			sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio)))),
	}
	t.tracer = t.provider.Tracer("gatehouse")
	return t, nil
}

// Begin starts the span of a request. It returns the context to serve it with,
// the id of its trace for the log, and what is to be called with the answer.
//
// Of what the request says it takes over the parent alone (W3C Trace Context,
// traceparent): neither tracestate nor baggage, whose text is the client's.
func (t *Tracing) Begin(r *http.Request) (context.Context, string, func(route, method string, status int)) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), parent(r.Header))
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	end := func(route, method string, status int) {
		if span.IsRecording() {
			route, method = RouteOf(route), MethodOf(method)
			if method == other {
				method = "_OTHER" // OpenTelemetry, HTTP semantic conventions
			}
			span.SetName(method + " " + route)
			span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
			if status >= 500 {
				span.SetStatus(codes.Error, "")
			}
		}
		span.End()
	}
	return ctx, span.SpanContext().TraceID().String(), end
}

// parent shows a propagator one header and no other.
type parent http.Header

// Get returns the header traceparent, if there is one (propagation.TextMapCarrier).
func (p parent) Get(key string) string {
	if !strings.EqualFold(key, "traceparent") {
		return ""
	}
	return http.Header(p).Get(key)
}

// Set does nothing: nothing is passed on (propagation.TextMapCarrier).
func (p parent) Set(string, string) {}

// Keys are those of Get (propagation.TextMapCarrier).
func (p parent) Keys() []string { return []string{"traceparent"} }

// Dropped is how many spans did not reach the collector.
func (t *Tracing) Dropped() int64 { return t.gate.dropped.Load() }

// Close sends what is waiting, for two seconds at most. What the collector does
// not take by then is dropped, and no error: the log tells.
func (t *Tracing) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), traceFarewell)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what it could not send is counted
	t.gate.giveUp()
	<-t.gate.ended // at once: nothing waits for the collector any more
}

// gate stands before the queue of spans and behind it, so that it knows of each
// whether it arrived: the SDK does not tell.
type gate struct {
	sdk.SpanProcessor
	exporter sdk.SpanExporter
	log      *slog.Logger
	waiting  atomic.Int64
	dropped  atomic.Int64
	down     atomic.Bool // the collector, by its last answer
	full     atomic.Bool // told of already

	late   context.Context //nolint:containedctx // ends when the server does not wait for the collector any more
	giveUp context.CancelFunc
	ended  chan struct{} // closed when nothing is sent any more
}

// OnEnd lets a span into the queue while there is room (sdk.SpanProcessor).
func (g *gate) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if g.waiting.Add(1) > spanQueue {
		g.waiting.Add(-1)
		g.dropped.Add(1)
		if !g.full.Swap(true) {
			g.log.Warn("traces: spans are dropped, the collector does not take them fast enough")
		}
		return
	}
	g.SpanProcessor.OnEnd(s)
}

// fell counts spans that are lost, and tells of it once until it gets better.
func (g *gate) fell(err error, n int64) {
	g.dropped.Add(n)
	if !g.down.Swap(true) {
		g.log.Warn("traces: the collector does not take them; spans are dropped until it does", "err", err)
	}
}

func (g *gate) sent() sdk.SpanExporter { return &sent{gate: g} }

// sent is the end of the queue.
type sent struct {
	*gate
	end sync.Once
}

// ExportSpans sends spans. It returns no error, because the SDK would write it
// to standard error (sdk.SpanExporter).
func (s *sent) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(s.late, cancel)()
	defer cancel()
	err := s.exporter.ExportSpans(ctx, spans)
	n := int64(len(spans))
	s.waiting.Add(-n)
	if err != nil {
		s.fell(err, n)
		return nil
	}
	s.full.Store(false)
	if s.down.Swap(false) {
		s.log.Info("traces: the collector takes them again", "dropped", s.dropped.Load())
	}
	return nil
}

// Shutdown ends the exporter (sdk.SpanExporter).
func (s *sent) Shutdown(ctx context.Context) (err error) {
	s.end.Do(func() {
		err = s.exporter.Shutdown(ctx)
		close(s.ended)
	})
	return err
}
