package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"gatehouse/internal/telemetry"
)

// collector takes traces as a real one does.
type collector struct {
	t   *testing.T
	url string

	mu     sync.Mutex // guards all below
	got    []*otlp.ResourceSpans
	header http.Header
	paths  []string
}

func newCollector(t *testing.T) *collector {
	c := &collector{t: t}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			c.t.Error(err)
			return
		}
		in = z
	}
	b, err := io.ReadAll(in)
	if err != nil {
		c.t.Error(err)
	}
	var req collect.ExportTraceServiceRequest
	err = proto.Unmarshal(b, &req)
	if err != nil {
		c.t.Errorf("it is not protobuf: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, req.GetResourceSpans()...)
	c.header, c.paths = r.Header, append(c.paths, r.URL.Path)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// spans are those that came.
func (c *collector) spans() (list []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.got {
		for _, s := range r.GetScopeSpans() {
			list = append(list, s.GetSpans()...)
		}
	}
	return list
}

func tracing(t *testing.T, o telemetry.TraceOptions) *telemetry.Tracing {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o.Transport = transport
	if o.Log == nil {
		o.Log = quiet
	}
	tr, err := telemetry.NewTracing(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// request serves one and returns the id of its trace.
func request(tr *telemetry.Tracing, route, method string, status int, headers ...string) string {
	r := httptest.NewRequest(http.MethodGet, "/users/ann@example.com?code=hush", nil)
	r.Method = method
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	_, id, end := tr.Begin(r)
	end(route, method, status)
	return id
}

func attributes(s *otlp.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.GetAttributes() {
		v := a.GetValue()
		all[a.GetKey()] = v.GetStringValue()
		if v.GetIntValue() != 0 {
			all[a.GetKey()] = string(rune('0'+v.GetIntValue()/100)) + "xx"
		}
	}
	return all
}

func TestTracing_aSpanTellsTheRouteAndTheAnswerAndNoMore(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tr := tracing(t, telemetry.TraceOptions{
		Endpoint: c.url + "/", Service: "users", Version: "1.2.3", Tags: map[string]string{"region": "eu"}, Headers: map[string]string{"X-Key": "k"}, Ratio: 1,
	})
	id := request(tr, "GET /users/{id}", "GET", 200, "User-Agent", "hush-agent", "Cookie", "hush-cookie", "X-Forwarded-For", "203.0.113.9",
		"tracestate", "hush=1", "baggage", "hush=2")
	request(tr, "", "HUSH", 503)
	tr.Close()
	spans := c.spans()
	if len(spans) != 2 || tr.Dropped() != 0 {
		t.Fatalf("%d spans came and %d were dropped", len(spans), tr.Dropped())
	}
	want := map[string]string{"http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": "2xx"}
	if diff := cmp.Diff(want, attributes(spans[0])); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if got := spans[0].GetName(); got != "GET /users/{id}" {
		t.Errorf("the span is named %q", got)
	}
	if got := hexOf(spans[0].GetTraceId()); got != id {
		t.Errorf("the log has the trace %s, the collector %s", id, got)
	}
	if got := spans[1]; got.GetName() != "_OTHER none" || got.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("a failure of a route nobody knows is %v", got)
	}
	about := map[string]string{}
	for _, a := range c.got[0].GetResource().GetAttributes() {
		about[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if diff := cmp.Diff(map[string]string{"service.name": "users", "service.version": "1.2.3", "region": "eu"}, about); diff != "" {
		t.Errorf("the service (-want +got):\n%s", diff)
	}
	if c.paths[0] != "/v1/traces" || c.header.Get("X-Key") != "k" {
		t.Errorf("it came to %s with the key %q", c.paths[0], c.header.Get("X-Key"))
	}
	for _, r := range c.got {
		text := r.String()
		for _, secret := range []string{"hush", "HUSH", "ann@", "203.0.113.9", "192.0.2.1"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in the traces: %s", secret, text)
			}
		}
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestTracing_theParentDecides(t *testing.T) {
	t.Parallel()
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for name, c := range map[string]struct {
		ratio  float64
		parent string
		spans  int
		same   bool
	}{
		"sampled":             {0, "00-" + trace + "-" + span + "-01", 1, true},
		"not sampled":         {1, "00-" + trace + "-" + span + "-00", 0, true},
		"none, all":           {1, "", 1, false},
		"none, nothing":       {0, "", 0, false},
		"rubbish":             {1, "00-" + trace + "-zz-01", 1, false},
		"all zero":            {1, "00-00000000000000000000000000000000-" + span + "-01", 1, false},
		"of a future version": {1, "ff-" + trace + "-" + span + "-01", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := newCollector(t)
			tr := tracing(t, telemetry.TraceOptions{Endpoint: at.url, Ratio: c.ratio})
			id := request(tr, "GET /user", "GET", 200, "traceparent", c.parent)
			tr.Close()
			spans := at.spans()
			if len(spans) != c.spans || (id == trace) != c.same {
				t.Fatalf("%d spans of the trace %s, want %d, of the client's trace: %v", len(spans), id, c.spans, c.same)
			}
			if c.same && len(spans) == 1 && (hexOf(spans[0].GetParentSpanId()) != span || spans[0].GetTraceState() != "") {
				t.Errorf("its parent is %x", spans[0].GetParentSpanId())
			}
		})
	}
}

// dead is a transport to a collector that is down.
type dead struct{ err error }

func (d dead) RoundTrip(*http.Request) (*http.Response, error) { return nil, d.err }

func TestTracing_aDeadCollectorCostsSpansThatAreCountedAndOneLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := telemetry.NewLog(&b)
	tr, err := telemetry.NewTracing(t.Context(), telemetry.TraceOptions{
		Endpoint: "http://127.0.0.1:1", Transport: dead{io.ErrUnexpectedEOF}, Ratio: 1, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	const all = 1000
	for range all {
		request(tr, "GET /user", "GET", 200)
	}
	tr.Close()
	closing(t, log)
	if got := tr.Dropped(); got != all {
		t.Errorf("%d spans are counted as dropped, want %d", got, all)
	}
	if got := strings.Count(b.String(), "\n"); got != 1 || !strings.Contains(b.String(), "level=WARN") {
		t.Errorf("the log has %d lines, want one:\n%s", got, b.String())
	}
}

// stalled is a transport to a collector that takes requests and never answers.
type stalled struct{ asked chan struct{} }

func (s stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// Requests do not wait for a collector that does not answer, memory does not
// grow, and the end of the server comes soon.
func TestTracing_aStalledCollectorHoldsNobody(t *testing.T) {
	t.Parallel()
	s := stalled{make(chan struct{}, 1)}
	tr, err := telemetry.NewTracing(t.Context(), telemetry.TraceOptions{Endpoint: "http://127.0.0.1:1", Transport: s, Ratio: 1, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	const all = 5000
	for range all {
		request(tr, "GET /user", "GET", 200)
	}
	<-s.asked
	before := tr.Dropped()
	if before != all-2048 {
		t.Errorf("%d spans are dropped while %d wait, want %d", before, 2048, all-2048)
	}
	tr.Close()
	if got := tr.Dropped(); got != all {
		t.Errorf("%d spans are dropped in all, want %d", got, all)
	}
}
