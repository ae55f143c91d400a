package config_test

import (
	"strings"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

func TestNeedsRestart_namesWhatDiffersAndCannotBeTakenOver(t *testing.T) {
	before := base(t, "GATEHOUSE_PORT=1", "GATEHOUSE_PASSWORD_MIN_LENGTH=9")
	for environ, want := range map[string][]string{
		"GATEHOUSE_PORT=1":                                 nil,
		"GATEHOUSE_PORT=2":                                 {"PORT"},
		"PORT=1":                                           nil, // by another name
		"GATEHOUSE_PASSWORD_MIN_LENGTH=10":                 {"PORT"},
		"GATEHOUSE_MULTIINSTANCEMODE=true":                 {"PORT", "MULTIINSTANCEMODE"},
		"GATEHOUSE_API_MAX_REQUEST_DURATION=1s":            {"PORT", "API_MAX_REQUEST_DURATION"},
		"GATEHOUSE_EVENTS_KEEP=48h":                        {"PORT"}, // which is read at every sweep
		"GATEHOUSE_MASTER_KEY=" + strings.Repeat("ab", 32): {"PORT", "MASTER_KEY"},
	} {
		after := base(t, environ, "GATEHOUSE_OPERATOR_TOKEN=operator-token-0123456789")
		if diff := cmp.Diff(want, config.NeedsRestart(before, after)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", environ, diff)
		}
	}
}

func TestKeeping_takesOverWhatItCanAndNothingElse(t *testing.T) {
	before := base(t, "GATEHOUSE_PORT=1", "GATEHOUSE_PASSWORD_MIN_LENGTH=9", "GATEHOUSE_JWT_EXP=120")
	after := base(t, "PORT=2", "GATEHOUSE_PASSWORD_MIN_LENGTH=10", "GATEHOUSE_TENANTS_LIVE=20", "GATEHOUSE_SMTP_MAX_FREQUENCY=3s")
	kept, r := after.Keeping(before)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if kept.Server.Port != 1 || kept.Tenants.Live != 500 {
		t.Errorf("the port is %d, and %d tenants are kept: want those of before", kept.Server.Port, kept.Tenants.Live)
	}
	of := tenant(t, kept, nil)
	if kept.Password.MinLength != 10 || kept.JWT.Life.Int() != 3600 || of.Password.MinLength != 10 || of.Tenants.Live != 500 {
		t.Errorf("the server has %+v, a tenant %+v: want those of the file", kept.Password, of.Password)
	}
	if after.Server.Port != 2 || before.Password.MinLength != 9 {
		t.Error("it changed what it was made of")
	}
	if again := config.NeedsRestart(kept, after); !cmp.Equal(again, []string{"PORT", "TENANTS_LIVE"}) {
		t.Errorf("at the next reload %q need a restart", again)
	}
}

// A server that listens on every address stays one, whatever its file says by
// now: what only a private one may do is refused.
func TestKeeping_refusesWhatIsUnsafeWhereItListens(t *testing.T) {
	public := base(t, "GATEHOUSE_API_HOST=0.0.0.0", "GATEHOUSE_MAIL=none")
	private := base(t, "GATEHOUSE_API_HOST=127.0.0.1")
	if !private.DevInbox() {
		t.Fatal("by itself that is a server with an inbox for everybody who reaches it")
	}
	kept, r := private.Keeping(public)
	if r.Err() == nil && kept.DevInbox() {
		t.Error("the inbox is open to the network")
	}
	if r.Err() == nil {
		t.Error("a public server without mail is accepted")
	}
	if _, r = private.Keeping(private); r.Err() != nil {
		t.Errorf("a private one is refused: %v", r.Err())
	}
}
