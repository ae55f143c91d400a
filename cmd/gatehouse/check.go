package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
	"gatehouse/internal/web"
)

type checkCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

// Run reports every fault and warning of the configuration.
func (c checkCmd) Run(e env) error {
	_, report := settings(e)
	if c.JSON {
		err := printJSON(e.out, map[string]any{"faults": notes(report.Faults), "warnings": notes(report.Warnings)})
		if err != nil {
			return err
		}
	} else {
		for _, n := range report.Warnings {
			fmt.Fprintln(e.out, "warning:", n)
		}
		for _, n := range report.Faults {
			fmt.Fprintln(e.out, "fault:", n)
		}
	}
	switch n := len(report.Faults); {
	case n == 1:
		return errors.New("the configuration has 1 fault")
	case n > 1:
		return fmt.Errorf("the configuration has %d faults", n)
	case !c.JSON:
		fmt.Fprintln(e.out, "The configuration is fine.")
	}
	return nil
}

// settings reads the configuration and also asks the parts that will use it
// what they make of it, so that check finds what serve would stumble over.
func settings(e env) (*config.Base, *config.Report) {
	base, report := config.LoadBase(config.Source{Environ: e.environ, Dir: e.dir})
	cfg := base.Config
	_, err := configuredKeys(cfg.JWT)
	if err != nil {
		report.Add("JWT_KEYS", err.Error(), "see JWT_KEYS in docs/config.md")
	}
	site := cfg.Site.URL
	if site == "" {
		site = "http://localhost"
	}
	_, err = web.NewRedirects(site, cfg.Site.Redirects)
	if err != nil && len(report.Faults) == 0 {
		report.Faults = append(report.Faults, config.Note{Name: "GATEHOUSE_URI_ALLOW_LIST or GATEHOUSE_SITE_URL", Problem: err.Error(), Mend: "see URI_ALLOW_LIST in docs/config.md"})
	}
	usable(e, cfg, report)
	return base, report
}

// usable reports what is sound by itself, but not for the part that will use
// it.
func usable(e env, cfg *config.Config, report *config.Report) {
	known := slices.Clone(report.Faults)
	fault := func(x string, err error, mend string) {
		if err != nil {
			report.Add(x, err.Error(), mend)
		}
	}
	fault("SMTP_HEADERS", notify.CheckHeaders(cfg.SMTP.Headers), "")
	_, err := notify.ParseTestCodes(cfg.SMS.TestOTP, cfg.SMS.TestOTPUntil.Time)
	fault("SMS_TEST_OTP", err, "")
	fault("SMS_TEMPLATE", notify.CheckSMSTemplate(cfg.SMS.Template), "write e.g. Your code is {{ .Code }}")
	if !slices.ContainsFunc(known, func(n config.Note) bool { return strings.Contains(strings.ToUpper(n.Name), "SMS_") }) {
		out := fetch.New(fetch.Options{})
		defer out.Close()
		_, err = provider(cfg.SMS, out)
		fault("SMS_PROVIDER", err, "see the settings SMS_… of the provider in docs/config.md")
	}
	usableHooks(cfg, report)
	language(cfg.Mailer, report)
	_, err = dataSchema(e, cfg)
	fault("USER_DATA_SCHEMA", err, "name a file with a JSON Schema that refers to nothing outside itself")
	if cfg.Password.Common {
		_, err = commonList(e, cfg)
		fault("PASSWORD_COMMON_LIST", err, "name a text file with one password on a line")
	}
}

// usableHooks reports hooks that could not be called.
func usableHooks(cfg *config.Config, report *config.Report) {
	if slices.ContainsFunc(report.Faults, func(n config.Note) bool { return strings.Contains(strings.ToUpper(n.Name), "HOOK") }) {
		return
	}
	out := fetch.New(fetch.Options{AllowPrivate: cfg.Server.OutgoingAllowPrivate})
	defer out.Close()
	for _, n := range cfg.Hooks.On() {
		_, err := newHook(n, out, new(store.DB).Function) // which engine it is, the settings have been asked already
		var bad *secretError
		switch {
		case errors.As(err, &bad):
			report.Add("HOOK_"+n.Name+"_SECRETS", bad.Error(), "write v1,whsec_ and base64 of 24 bytes or more, with | between several")
		case err != nil:
			report.Add("HOOK_"+n.Name+"_URI", err.Error(), "")
		}
	}
}

// language warns of a language that nothing is written in.
func language(m config.Mailer, report *config.Report) {
	base, _, _ := strings.Cut(strings.ToLower(m.Language), "-")
	if slices.Contains(notify.Languages(), base) {
		return
	}
	for _, from := range kinds(m.Templates) {
		if strings.Contains(from, "{lang}") {
			return
		}
	}
	report.Warn("MAILER_LANGUAGE", "nothing is written in "+m.Language+" here, so that English is sent",
		"take one of "+strings.Join(notify.Languages(), ", ")+", or name templates of your own whose path holds {lang}")
}

// notes is never null in JSON.
func notes(list []config.Note) []map[string]string {
	out := []map[string]string{}
	for _, n := range list {
		out = append(out, map[string]string{"name": n.Name, "problem": n.Problem, "mend": n.Mend})
	}
	return out
}
