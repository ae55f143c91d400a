package config_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

// doors are the settings without which somebody could come in who should not.
func doors() []string {
	return strings.Fields(`
		MAILER_EMAIL_VALIDATION_EXTENDED MAILER_EMAIL_VALIDATION_SERVICE_URL MAILER_EMAIL_VALIDATION_BLOCKED_MX`)
}

func TestUnbuilt_listsNothingThatIsBuilt(t *testing.T) {
	all := config.Unbuilt()
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		t.Errorf("%d names stand in the list twice", len(all)-n)
	}
	for _, x := range []string{"MAILER_TEMPLATES_MFA_FACTOR_ENROLLED_NOTIFICATION"} {
		if !slices.Contains(all, x) {
			t.Errorf("%s is not in the list", x)
		}
	}
	var environ []string
	var faults, warnings []config.Note
	for _, x := range all {
		environ = append(environ, "GOTRUE_"+x+"=true")
		why := config.WhyNever(x)
		note := config.Note{Name: "GOTRUE_" + x, Problem: "not supported yet, ignored"}
		switch door := slices.Contains(doors(), x); {
		case door && why != "":
			note.Problem = "Gatehouse does not do this: " + why
		case door:
			note.Problem = "Gatehouse does not do this yet"
		case why != "":
			note.Problem = "not applicable: " + why
		}
		if slices.Contains(doors(), x) {
			note.Mend = "take the setting out only if you can do without it"
			faults = append(faults, note)
		} else {
			warnings = append(warnings, note)
		}
	}
	_, r := config.Load(source(t, environ, nil))
	slices.SortFunc(r.Faults, func(a, b config.Note) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(faults, r.Faults); diff != "" {
		t.Errorf("all turned on: faults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(warnings, r.Warnings); diff != "" {
		t.Errorf("all turned on: warnings (-want +got):\n%s", diff)
	}
}

func TestUnbuilt_refusesWhatWouldCloseADoor(t *testing.T) {
	all := config.Unbuilt()
	for _, x := range doors() {
		if !slices.Contains(all, x) {
			t.Errorf("%s is not in the list; is it built?", x)
		}
	}
	for _, tc := range []struct {
		environ []string
		files   map[string]string
		want    []string
	}{
		{[]string{"GATEHOUSE_MAILER_EMAIL_VALIDATION_SERVICE_URL=https://mail.example"}, nil, []string{"GATEHOUSE_MAILER_EMAIL_VALIDATION_SERVICE_URL"}},
		{[]string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true"}, nil, []string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED"}},
		{[]string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=yes"}, nil, []string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED"}},
		{nil, map[string]string{"gatehouse.yaml": "mailer: {email_validation_extended: true}\n"}, []string{"mailer.email_validation_extended"}},
		{nil, map[string]string{"gatehouse.yaml": "mailer_email_validation_blocked_mx: [a.example]\n"}, []string{"mailer_email_validation_blocked_mx"}},
		{nil, map[string]string{".env": "GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=1"}, []string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED"}},
		// What counts is what would be read: the environment takes back a file.
		{[]string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED="}, map[string]string{".env": "GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=1"}, nil},
		{[]string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true"}, map[string]string{".env": "GATEHOUSE_MAILER_EMAIL_VALIDATION_EXTENDED=false"}, []string{"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED"}},
	} {
		_, r := config.Load(source(t, tc.environ, tc.files))
		if diff := cmp.Diff(tc.want, names(r.Faults)); diff != "" {
			t.Errorf("%q %q: faults (-want +got):\n%s", tc.environ, tc.files, diff)
		}
	}
}

// Templates for both GoTrue servers write out every switch, most of them off.
func TestUnbuilt_saysNothingOfWhatIsOff(t *testing.T) {
	for _, v := range []string{"", " ", "false", "0", "F", " False "} {
		var environ []string
		for _, x := range config.Unbuilt() {
			if strings.TrimSpace(v) == "" || strings.HasSuffix(x, "ENABLED") {
				environ = append(environ, "GOTRUE_"+x+"="+v)
			}
		}
		if _, r := config.Load(source(t, environ, nil)); len(r.Faults)+len(r.Warnings) != 0 {
			t.Errorf("%q: got %v, %v, want silence", v, r.Faults, r.Warnings)
		}
	}
	for environ, silent := range map[string]bool{
		"GOTRUE_MAILER_EMAIL_BACKGROUND_SENDING=0":             true,
		"GOTRUE_DB_CLEANUP_ENABLED=false":                      true,
		"GOTRUE_DB_CLEANUP_ENABLED=true":                       false,
		"GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPT=0s":             true,
		"GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPT=1":              false,
		"GOTRUE_OAUTH_SERVER_ALLOW_DYNAMIC_REGISTRATION=false": true,
		"GOTRUE_RATE_LIMIT_PASSKEY=0":                          false,
		"GOTRUE_WEBAUTHN_RP_ID=false":                          false,
		"GOTRUE_OAUTH_SERVER_ENABLED=true":                     false,
		"GOTRUE_PASSKEY_ENABLED=1":                             false,
	} {
		if _, r := load(t, environ); (len(r.Warnings) == 0) != silent {
			t.Errorf("%s: got warnings %v, want silence %v", environ, r.Warnings, silent)
		}
	}
}
