package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What somebody does with the database shows to whoever asks.
func TestAuditVerify_tellsWhatWasDoneBehindTheHousesBack(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		dir := t.TempDir()
		say := func(args ...string) (string, error) {
			t.Helper()
			return commandWith(t, dir, d.settings(), args...)
		}
		for _, line := range []string{"user add ada@example.com", "user add bob@example.com", "user ban ada@example.com", "audit verify"} {
			if out, err := say(strings.Fields(line)...); err != nil {
				t.Fatalf("%s: %q, %v", line, out, err)
			}
		}
		export, err := say("audit", "export")
		if err != nil {
			t.Fatal(err)
		}
		kept := filepath.Join(dir, "kept.jsonl")
		if err := os.WriteFile(kept, []byte(export), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := say("audit", "verify", "--checkpoint", kept); err != nil || !strings.HasPrefix(out, "default: nothing was changed; ") {
			t.Errorf("before: %q, %v", out, err)
		}
		d.change(t, `UPDATE events SET actor = 'nobody' WHERE name = 'user.banned'`)
		out, err := say("audit", "verify")
		if err == nil || !strings.HasPrefix(err.Error(), "the audit trail of default is not what was sealed: the event ") || !strings.Contains(err.Error(), " (user.banned of 20") {
			t.Errorf("an event was changed: %v", err)
		}
		if !strings.HasPrefix(out, "default: NOT what was sealed; ") || !strings.Contains(out, "\n  changed event: ") {
			t.Errorf("it prints %q", out)
		}
		out, err = say("audit", "verify", "--all", "--json")
		if err == nil || !strings.Contains(out, `"kind": "changed event"`) {
			t.Errorf("of all, as JSON: %q, %v", out, err)
		}
		if _, err := say("audit", "export"); err == nil || !strings.Contains(err.Error(), "gatehouse audit verify says where") {
			t.Errorf("its export: %v", err)
		}

		// As if nothing of it had ever been.
		for _, table := range []string{"events", "audit_trail", "audit_heads", "audit_checkpoints"} {
			d.change(t, `DELETE FROM `+table)
		}
		if out, err := say("audit", "verify"); err != nil || !strings.HasPrefix(out, "default: there is no trail yet; ") {
			t.Errorf("a trail that was removed whole: %q, %v", out, err)
		}
		if _, err := say("audit", "verify", "--checkpoint", kept); err == nil || !strings.Contains(err.Error(), "its end is missing") {
			t.Errorf("against what was kept: %v", err)
		}
	})
}

// A server seals by itself, and nothing keeps it from stopping.
func TestServe_sealsWhatHappens(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.person("ada@example.com")
	until(t, "all to be in the trail", func() bool { return s.sql(`SELECT COUNT(*) FROM audit_queue`) == "0" })
	events := s.sql(`SELECT COUNT(*) FROM events`)
	if rows := s.sql(`SELECT COUNT(*) FROM audit_trail`); rows != events {
		t.Errorf("%s rows of %s events", rows, events)
	}
	s.said("audit verify", `^default: nothing was changed; `+events+` rows`)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if until := s.sql(`SELECT until_at FROM leases WHERE name = 'seal'`); until == "0" {
		t.Error("the lease was never taken")
	}
}
