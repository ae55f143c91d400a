package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/config"
)

func TestDotEnv_readsTheUsualForms(t *testing.T) {
	for line, want := range map[string]string{
		`GOTRUE_SMTP_PASS=plain`:                     `plain`,
		`  export   GOTRUE_SMTP_PASS = spaced  `:     `spaced`,
		`GOTRUE_SMTP_PASS=a=b==`:                     `a=b==`,
		`GOTRUE_SMTP_PASS=a#b`:                       `a#b`,
		`GOTRUE_SMTP_PASS=a b # c # d`:               `a b`,
		`GOTRUE_SMTP_PASS=# all comment`:             ``,
		`GOTRUE_SMTP_PASS=`:                          ``,
		`GOTRUE_SMTP_PASS=it's "so" \n`:              `it's "so" \n`,
		`GOTRUE_SMTP_PASS='a # b \n $HOME "'  # c`:   `a # b \n $HOME "`,
		`GOTRUE_SMTP_PASS="a # b\n\r\t\\\"\$'"#c`:    "a # b\n\r\t\\\"$'",
		`GOTRUE_SMTP_PASS=$HOME${HOME}`:              `$HOME${HOME}`,
		"GOTRUE_SMTP_PASS=crlf\r":                    `crlf`,
		"\ufeffGOTRUE_SMTP_PASS=bom":                 `bom`,
		"# GOTRUE_SMTP_PASS=no\nGOTRUE_SMTP_PASS=y":  `y`,
		"exporter=1\nGOTRUE_SMTP_PASS=x\n\n   \n#\n": `x`,
	} {
		c, r := config.Load(source(t, nil, map[string]string{".env": line}))
		if err := r.Err(); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if got := c.SMTP.Password.Reveal(); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestDotEnv_malformedLineIsAFaultWithItsPlace(t *testing.T) {
	for line, want := range map[string]string{
		`hunter2`:                    `there is no = in this line`,
		`export hunter2`:             `there is no = in this line`,
		`hunter 2=x`:                 `what stands before = is not a name`,
		`2hunter=x`:                  `what stands before = is not a name`,
		`=hunter2`:                   `what stands before = is not a name`,
		`PASS="hunter2`:              `the quote is not closed on this line`,
		`PASS="hunter2\"`:            `the quote is not closed on this line`,
		`PASS='hunter2`:              `the quote is not closed on this line`,
		`PASS="hunter2" x`:           `there is text after the closing quote`,
		`PASS='a'hunter2`:            `there is text after the closing quote`,
		`PASS="\hunter2"`:            `there is an unknown escape in double quotes`,
		"PASS=hunter2\x00":           `there is a NUL byte in this line`,
		"GOTRUE_JWT_EXP: hunter2 3":  `there is no = in this line`,
		"GOTRUE-JWT-EXP=\"hunter2\"": `what stands before = is not a name`,
	} {
		_, r := config.Load(source(t, nil, map[string]string{".env": "# first\n\n" + line + "\nA=b\n"}))
		if len(r.Faults) != 1 || r.Faults[0].Name != ".env:3" || r.Faults[0].Problem != want || r.Faults[0].Mend == "" {
			t.Errorf("%q: got %q, want .env:3: %s", line, r.Faults, want)
		}
		if strings.Contains(fmt.Sprint(r.Faults), "hunter") {
			t.Errorf("%q: the text of the line is told: %v", line, r.Faults)
		}
	}
}

// FuzzDotEnv: no text makes the reader fall over, every fault names a line
// that is there, and a value in double quotes comes back as it was.
func FuzzDotEnv(f *testing.F) {
	for _, seed := range []string{
		"", "A=b", "export A='b' # c", `A="b\n\"\\"`, "A=\"", "A='", "A", "=", "\ufeff#", "export =", "A=\x00", "A=b\r\n\r\nC", `A="\`,
		"GATEHOUSE_JWT_EXP=x", "GOTRUE_URI_ALLOW_LIST=https://[::", "GATEHOUSE_SMTP_HOST=é\nPORT=-1", "DATABASE_URL=:", "GATEHOUSE_API_HOST=[",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		put := func(content string) (*config.Config, *config.Report) {
			if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return config.Load(config.Source{Dir: dir})
		}
		_, r := put(text)
		lines := strings.Count(text, "\n") + 1
		for _, fault := range r.Faults {
			for _, m := range regexp.MustCompile(`\.env:(\d+)\)?$`).FindAllStringSubmatch(fault.Name+"\n"+fault.Problem, -1) {
				if n, _ := strconv.Atoi(m[1]); n < 1 || n > lines {
					t.Errorf("%q: got a fault in line %d of %d: %v", text, n, lines, fault)
				}
			}
		}
		if strings.Contains(text, "\x00") {
			return // no environment can hold it
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "$", `\$`).Replace(text)
		c, r := put(`GOTRUE_SMTP_PASS="` + quoted + `" # end`)
		if got := c.SMTP.Password.Reveal(); got != text || r.Err() != nil {
			t.Errorf("got %q (%v), want %q", got, r.Err(), text)
		}
	})
}
