package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Telemetry says what operators can see of the server at work, and where.
type Telemetry struct {
	Metrics         bool   `env:"METRICS_ENABLED" envDefault:"false" help:"Serve metrics for Prometheus, at /metrics, on an address of their own."`
	MetricsExporter string `env:"METRICS_EXPORTER" envDefault:"prometheus" oneof:"prometheus|opentelemetry" help:"prometheus. opentelemetry is a fault: metrics are fetched here, and never sent."`
	MetricsHost     string `env:"METRICS_OTEL_EXPORTER_PROMETHEUS_HOST" alias:"METRICS_HOST" bare:"OTEL_EXPORTER_PROMETHEUS_HOST" envDefault:"127.0.0.1" help:"Address metrics are served at, without any password. It is not 0.0.0.0, as elsewhere: they tell strangers how busy the server is and how it fails. In a container, set it to what your collector reaches and nobody else."`
	MetricsPort     int    `env:"METRICS_OTEL_EXPORTER_PROMETHEUS_PORT" alias:"METRICS_PORT" bare:"OTEL_EXPORTER_PROMETHEUS_PORT" envDefault:"9100" min:"0" max:"65535" help:"Port of the metrics; 0 takes any free one."`

	Tracing         bool     `env:"TRACING_ENABLED" envDefault:"false" help:"Send a span of every request to a collector, by OTLP over HTTP."`
	TracingExporter string   `env:"TRACING_EXPORTER" envDefault:"opentelemetry" oneof:"opentelemetry" help:"How: opentelemetry."`
	TracingEndpoint string   `env:"TRACING_OTEL_EXPORTER_OTLP_ENDPOINT" bare:"OTEL_EXPORTER_OTLP_ENDPOINT" check:"web" help:"The collector; /v1/traces is added. Empty: TRACING_HOST and TRACING_PORT."`
	TracingHost     string   `env:"TRACING_HOST" envDefault:"localhost" help:"Host of the collector, spoken to by plain HTTP."`
	TracingPort     int      `env:"TRACING_PORT" envDefault:"4318" min:"1" max:"65535" help:"Port at which it takes OTLP over HTTP."`
	TracingProtocol string   `env:"TRACING_OTEL_EXPORTER_OTLP_PROTOCOL" bare:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" oneof:"http/protobuf|http/json|grpc" help:"http/protobuf. The others are faults where tracing is on."`
	TracingHeaders  Secret   `env:"TRACING_OTEL_EXPORTER_OTLP_HEADERS" bare:"OTEL_EXPORTER_OTLP_HEADERS" help:"Headers of every request to the collector, such as a key: name=value, separated by commas, with special characters of a value as in URLs."`
	TracingService  string   `env:"TRACING_SERVICE_NAME" bare:"OTEL_SERVICE_NAME" envDefault:"gatehouse" help:"Name of the service in traces."`
	TracingTags     []string `env:"TRACING_TAGS" help:"More attributes of the service, as region:eu,stage:test."`
	TracingRatio    float64  `env:"TRACING_RATIO" envDefault:"1" min:"0" max:"1" help:"Part of the requests that are traced, from 0 to 1. A request with a traceparent header brings its own answer."`

	Profiler     bool   `env:"PROFILER_ENABLED" envDefault:"false" help:"Serve profiles for the Go tools, at /debug/pprof/, on an address of their own."`
	ProfilerHost string `env:"PROFILER_HOST" envDefault:"localhost" help:"Address profiles are served at, without any password."`
	ProfilerPort int    `env:"PROFILER_PORT" envDefault:"9998" min:"0" max:"65535" help:"Port of the profiles; 0 takes any free one."`
}

// MetricsAddr is where metrics are served, host:port.
func (t Telemetry) MetricsAddr() string {
	return net.JoinHostPort(t.MetricsHost, strconv.Itoa(t.MetricsPort))
}

// ProfilerAddr is where profiles are served, host:port.
func (t Telemetry) ProfilerAddr() string {
	return net.JoinHostPort(t.ProfilerHost, strconv.Itoa(t.ProfilerPort))
}

// Collector is the URL traces are sent to, without /v1/traces.
func (t Telemetry) Collector() string {
	if t.TracingEndpoint != "" {
		return t.TracingEndpoint
	}
	return "http://" + net.JoinHostPort(t.TracingHost, strconv.Itoa(t.TracingPort))
}

// Tags are TRACING_TAGS by name.
func (t Telemetry) Tags() map[string]string {
	tags := map[string]string{}
	for _, tag := range t.TracingTags {
		name, value, _ := strings.Cut(tag, ":")
		tags[name] = value
	}
	return tags
}

// CollectorHeaders are TRACING_OTEL_EXPORTER_OTLP_HEADERS by name (OpenTelemetry,
// OTLP exporter: as W3C Baggage has it).
func (t Telemetry) CollectorHeaders() map[string]string {
	headers, _ := collectorHeaders(t.TracingHeaders)
	return headers
}

func collectorHeaders(s Secret) (headers map[string]string, ok bool) {
	headers = map[string]string{}
	for pair := range strings.SplitSeq(s.Reveal(), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || !isToken(name) || text("", value) != nil {
			return nil, false
		}
		headers[name] = value
	}
	return headers, true
}

func (k *checker) telemetry() {
	t := &k.Telemetry
	for _, h := range []struct {
		x    string
		host *string
	}{
		{"METRICS_OTEL_EXPORTER_PROMETHEUS_HOST", &t.MetricsHost}, {"PROFILER_HOST", &t.ProfilerHost}, {"TRACING_HOST", &t.TracingHost},
	} {
		*h.host = strings.TrimSuffix(strings.TrimPrefix(*h.host, "["), "]")
		if !isHost(*h.host) {
			k.fault(h.x, quoted(*h.host)+" is not an address", "write e.g. 127.0.0.1, and the port to the setting for it")
		}
	}
	if t.Metrics && t.MetricsExporter == "opentelemetry" {
		k.fault("METRICS_EXPORTER", "metrics are not sent by OpenTelemetry", "set it to prometheus, and let your collector fetch them: its prometheus receiver does")
	}
	if t.Tracing && t.TracingProtocol != "http/protobuf" {
		k.fault("TRACING_OTEL_EXPORTER_OTLP_PROTOCOL", "traces are not sent by "+t.TracingProtocol, "set it to http/protobuf, and the endpoint to the port at which your collector takes that, usually 4318")
	}
	for _, tag := range t.TracingTags {
		name, _, ok := strings.Cut(tag, ":")
		if !ok || name == "" {
			k.fault("TRACING_TAGS", quoted(tag)+" is not a name and a value", "write e.g. region:eu,stage:test")
		}
	}
	if _, ok := collectorHeaders(t.TracingHeaders); !ok {
		k.fault("TRACING_OTEL_EXPORTER_OTLP_HEADERS", "it is not a list of headers", "write name=value,name=value")
	}
	if t.Profiler && !k.bad["PROFILER_HOST"] && !loopback(t.ProfilerHost) {
		k.warn("PROFILER_HOST", "whoever reaches "+t.ProfilerHost+" can read profiles and make the server busy with them", "set it to localhost")
	}
	if t.Metrics && t.Profiler && t.MetricsPort == t.ProfilerPort && t.MetricsPort != 0 && strings.EqualFold(t.MetricsHost, t.ProfilerHost) {
		k.fault("PROFILER_PORT", "it is the port of the metrics, too", "give each one of its own")
	}
}
