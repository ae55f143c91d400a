package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gatehouse/internal/config"
	"gatehouse/internal/web"
)

// served waits for the address of what a server serves beside itself.
func (s *server) served(what string) string {
	s.t.Helper()
	addr, err := s.log.await(what+` are served","address":"([^"]+)"`, s.ended)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
	return "http://" + addr
}

func TestObserve_whatIsOffIsNotThere(t *testing.T) {
	t.Parallel()
	o := &observation{ready: &readiness{}}
	s := &web.Server{Next: http.NotFoundHandler()}
	if got := o.over(s); s.Observe != nil || s.Refused != nil || s.Trace != nil || got != http.Handler(s) || len(o.jobs()) != 0 {
		t.Errorf("something watches: %+v", s)
	}
	o.close()
}

func TestObserve_metricsTellWhatTheServerDid(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_METRICS_ENABLED=true", "GATEHOUSE_METRICS_PORT=0", "GATEHOUSE_PROFILER_ENABLED=true", "GATEHOUSE_PROFILER_PORT=0", "GOTRUE_RATE_LIMIT_VERIFY=1")
	metrics, profiles := s.served("metrics"), s.served("profiles")
	s.person("ada@example.com")
	in := s.signIn("ada@example.com", password)
	s.refresh(200, in.text("refresh_token"))
	s.refuseSignIn(400, "ada@example.com", "not "+password)
	s.do(404, "GET", "/nobody/ada@example.com", nil)
	for range 40 {
		_, err := s.ask("POST", "/verify", object{"type": "signup", "token_hash": "x"}, "X-Forwarded-For: 203.0.113.7")
		if err != nil {
			t.Fatal(err)
		}
	}
	page := s.do(200, "GET", metrics+"/metrics", nil).body
	for _, want := range []string{
		`gatehouse_http_requests_total{method="POST",route="/token",status="2xx"} 2`,
		`gatehouse_http_requests_total{method="POST",route="/token",status="4xx"} 1`,
		`gatehouse_http_requests_total{method="GET",route="none",status="4xx"} 1`,
		`gatehouse_events_total{event="user.signed_up"} 1`, `gatehouse_events_total{event="session.opened"} 1`,
		`gatehouse_sessions_refreshed_total 1`, `gatehouse_log_lines_dropped_total 0`,
		`gatehouse_password_hashes{state="running"} 0`, `gatehouse_outbox_deliveries{state="waiting"} `, `gatehouse_database_connections{state="open"} `,
		`gatehouse_rate_limit_refusals_total{limit="verify`,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(page, "ada@") || strings.Contains(page, "gatehouse_trace_spans_dropped_total") {
		t.Error("the metrics tell of a person, or of traces that are off")
	}
	s.do(200, "GET", profiles+"/debug/pprof/goroutine?debug=1", nil)
	// Never where everybody is served.
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/vars"} {
		s.do(404, "GET", path, nil)
	}
}

func TestObserve_aTakenPortIsToldWithItsSetting(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, x := range []string{"METRICS", "PROFILER"} {
		s := launch(t, t.TempDir(), testSettings([]string{"GATEHOUSE_" + x + "_ENABLED=true", "GATEHOUSE_" + x + "_HOST=127.0.0.1", "GATEHOUSE_" + x + "_PORT=" + port}))
		<-s.ended
		if !errors.Is(s.err, syscall.EADDRINUSE) || !strings.Contains(s.err.Error(), "GATEHOUSE_"+x+"_PORT") {
			t.Errorf("%s: it ended with %v", x, s.err)
		}
		s.http.CloseIdleConnections()
	}
}

func TestObserve_aFullLogVolumeStopsNothing(t *testing.T) {
	t.Parallel()
	_, err := os.Stat("/dev/full")
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	port := freePort(t)
	s := start(t, "GATEHOUSE_LOG_FILE=/dev/full", "GATEHOUSE_METRICS_ENABLED=true", "GATEHOUSE_METRICS_PORT="+port)
	s.person("ada@example.com")
	s.signIn("ada@example.com", password)
	s.do(200, "GET", "/health/ready", nil)
	page := s.do(200, "GET", "http://127.0.0.1:"+port+"/metrics", nil).body
	if strings.Contains(page, "gatehouse_log_lines_dropped_total 0\n") || !strings.Contains(page, "gatehouse_log_lines_dropped_total ") {
		t.Error("no line was dropped")
	}
}

// freePort is one that nobody listened at a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestLogger_reopensItsFileAndIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, lines, err := logger(env{dir: dir, err: newTape()}, config.Log{File: "logs/g.log", Format: "json"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "logs", "g.log")
	log.Info("before")
	err = errors.Join(os.Rename(path, path+".1"), lines.Reopen())
	if err != nil {
		t.Fatal(err)
	}
	log.Info("after")
	err = errors.Join(lines.Close(), onlyOurs(dir+"/logs"))
	if err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{path + ".1": `"msg":"before"`, path: `"msg":"after"`} {
		b, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(b), want) || strings.Count(string(b), "\n") != 1 {
			t.Errorf("%s holds %s, %v", name, b, err)
		}
	}
}
