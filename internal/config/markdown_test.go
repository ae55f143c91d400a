package config_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/config.md anew")

// TestMarkdown_isWhatTheDocsSay takes -update, which writes the page anew.
func TestMarkdown_isWhatTheDocsSay(t *testing.T) {
	const page = "../../docs/config.md"
	got := config.Markdown()
	if *update {
		if err := os.WriteFile(page, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/config.md is old; run: go test ./internal/config -run TestMarkdown -update\n(-page +tags):\n%s", cmp.Diff(string(want), string(got)))
	}
}

func TestMarkdown_tellsEverySetting(t *testing.T) {
	got := config.Markdown()
	for _, want := range []string{
		"| `PORT` | number, 0 to 65535; *house* | `8081` | `API_PORT`, `PORT` (bare) |",
		"| `JWT_EXP` | seconds, 1 or more | `3600` |",
		"| `MAILER_TEMPLATES_MAGIC_LINK` | text |",
		"| `EXTERNAL_EMAIL_ENABLED` | true or false | `true` | `EXTERNAL_EMAIL_DISABLED` (the opposite) |",
		"- `MFA_{TOTP,WEB_AUTHN}_{ENROLL_ENABLED,VERIFY_ENABLED}`\n",
		"- `API_EXPORT_SECRET`\n",
		"| `SMTP_HEADERS` | JSON |", "| `SMS_TEST_OTP_VALID_UNTIL` | moment |", "| `RATE_LIMIT_EMAIL_SENT` | rate |",
		"## Known names that do nothing here, and why\n", "| `DB_MIGRATIONS_PATH` | the migrations are inside the program | warning |\n",
		"| `MAILER_EMAIL_VALIDATION_{BLOCKED_MX,SERVICE_URL}` | the mail that confirms an address is the check | fault |\n",
	} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("the page has no %s", want)
		}
	}
}
