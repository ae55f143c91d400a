package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/config"
)

func TestTelemetry_isOffAndAtHomeByDefault(t *testing.T) {
	cfg, r := config.Load(source(t, nil, nil))
	if len(r.Faults)+len(r.Warnings) > 0 {
		t.Errorf("faults %v, warnings %v", r.Faults, r.Warnings)
	}
	x := cfg.Telemetry
	if x.Metrics || x.Tracing || x.Profiler {
		t.Errorf("something is on: %+v", x)
	}
	got := []string{x.MetricsAddr(), x.ProfilerAddr(), x.Collector()}
	if diff := cmp.Diff([]string{"127.0.0.1:9100", "localhost:9998", "http://localhost:4318"}, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestTelemetry_takesTheNamesOfTheOtherServers(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_TRACING_ENABLED=true GOTRUE_TRACING_HOST=otel GOTRUE_TRACING_PORT=4319 GOTRUE_TRACING_SERVICE_NAME=users GOTRUE_TRACING_TAGS=a:b,c:d:e":           "true http://otel:4319 users map[a:b c:d:e] map[] 1",
		"GATEHOUSE_TRACING_ENABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=https://otel.example/x OTEL_SERVICE_NAME=s OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf":         "true https://otel.example/x s map[] map[] 1",
		"GATEHOUSE_TRACING_ENABLED=true GATEHOUSE_TRACING_HOST=[::1] OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b,,x=y= TRACING_RATIO=3 GATEHOUSE_TRACING_RATIO=0.25": "true http://[::1]:4318 gatehouse map[] map[api-key:a b x:y=] 0.25",
	} {
		cfg, r := config.Load(source(t, strings.Split(environ, " "), nil))
		x := cfg.Telemetry
		got := fmt.Sprint(x.Tracing, " ", x.Collector(), " ", x.TracingService, " ", x.Tags(), " ", x.CollectorHeaders(), " ", x.TracingRatio)
		if got != want || len(r.Faults) > 0 {
			t.Errorf("%s\n got %s %v\nwant %s", environ, got, r.Faults, want)
		}
	}
	cfg, _ := config.Load(source(t, []string{"GOTRUE_METRICS_ENABLED=true", "OTEL_EXPORTER_PROMETHEUS_HOST=0.0.0.0", "OTEL_EXPORTER_PROMETHEUS_PORT=9464", "GOTRUE_PROFILER_ENABLED=1", "GOTRUE_PROFILER_PORT=1"}, nil))
	if x := cfg.Telemetry; !x.Metrics || !x.Profiler || x.MetricsAddr() != "0.0.0.0:9464" || x.ProfilerAddr() != "localhost:1" {
		t.Errorf("metrics %s, profiles %s", x.MetricsAddr(), x.ProfilerAddr())
	}
}

func TestTelemetry_refuses(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_METRICS_ENABLED=true GOTRUE_METRICS_EXPORTER=opentelemetry": "GOTRUE_METRICS_EXPORTER: metrics are not sent by OpenTelemetry; set it to prometheus",
		"GOTRUE_METRICS_EXPORTER=statsd":                                    "GOTRUE_METRICS_EXPORTER: \"statsd\" is not a word known here",
		"GOTRUE_TRACING_ENABLED=true OTEL_EXPORTER_OTLP_PROTOCOL=grpc":      "OTEL_EXPORTER_OTLP_PROTOCOL: traces are not sent by grpc; set it to http/protobuf, and the endpoint to the port",
		"GOTRUE_TRACING_EXPORTER=jaeger":                                    "GOTRUE_TRACING_EXPORTER: \"jaeger\" is not a word known here; write opentelemetry",
		"GOTRUE_TRACING_TAGS=a:b,hunter":                                    "GOTRUE_TRACING_TAGS: \"hunter\" is not a name and a value",
		"GOTRUE_TRACING_TAGS=:b":                                            "GOTRUE_TRACING_TAGS: \":b\" is not a name and a value",
		"OTEL_EXPORTER_OTLP_HEADERS=hunter2":                                "OTEL_EXPORTER_OTLP_HEADERS: it is not a list of headers",
		"OTEL_EXPORTER_OTLP_HEADERS=a=hunter2%0d%0ab":                       "OTEL_EXPORTER_OTLP_HEADERS: it is not a list of headers",
		"OTEL_EXPORTER_OTLP_ENDPOINT=otel:4318":                             "OTEL_EXPORTER_OTLP_ENDPOINT: \"otel:4318\" is not an absolute http or https URL",
		"GOTRUE_TRACING_HOST=http://otel":                                   "GOTRUE_TRACING_HOST: \"http://otel\" is not an address",
		"GOTRUE_PROFILER_HOST=a/b":                                          "GOTRUE_PROFILER_HOST: \"a/b\" is not an address",
		"GATEHOUSE_TRACING_RATIO=1.5":                                       "GATEHOUSE_TRACING_RATIO: 1.5 is out of bounds; write 0 to 1",
		"GATEHOUSE_METRICS_ENABLED=1 GATEHOUSE_PROFILER_ENABLED=1 GATEHOUSE_METRICS_HOST=localhost GATEHOUSE_PROFILER_PORT=9100": "GATEHOUSE_PROFILER_PORT: it is the port of the metrics, too",
	} {
		_, r := config.Load(source(t, strings.Split(environ, " "), nil))
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), want) || strings.Contains(r.Err().Error(), "hunter2") {
			t.Errorf("%q: got %v, want %s", environ, r.Faults, want)
		}
	}
}

// What is meant for other programs on the machine is no fault where nobody asks
// for traces or metrics.
func TestTelemetry_whatIsOffIsNotJudged(t *testing.T) {
	_, r := config.Load(source(t, []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "GOTRUE_METRICS_EXPORTER=opentelemetry", "GOTRUE_PROFILER_HOST=0.0.0.0"}, nil))
	if len(r.Faults)+len(r.Warnings) > 0 {
		t.Errorf("faults %v, warnings %v", r.Faults, r.Warnings)
	}
	_, r = config.Load(source(t, []string{"GOTRUE_PROFILER_ENABLED=true", "GOTRUE_PROFILER_HOST=0.0.0.0"}, nil))
	if len(r.Faults) > 0 || len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), "GOTRUE_PROFILER_HOST: whoever reaches 0.0.0.0") {
		t.Errorf("profiles for everybody: faults %v, warnings %v", r.Faults, r.Warnings)
	}
}
