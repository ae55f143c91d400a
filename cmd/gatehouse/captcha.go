package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/captcha"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/fetch"
	"gatehouse/internal/secret"
)

// human is how a tenant tells people from programs. The zero value asks nobody
// for anything.
type human struct {
	core *auth.Captcha
	work *captcha.Work // nil: somebody else judges
}

// captchaSlots is how many tokens may be judged at once: who waits for a slow
// provider keeps no mail or webhook waiting.
const captchaSlots = 64

// humanOf reads how the tenant whose root key it is wants it.
func humanOf(cfg config.Captcha, tenant auth.TenantID, root *secret.Root, out *fetch.Client) (human, error) {
	if !cfg.Enabled {
		return human{}, nil
	}
	h := human{core: &auth.Captcha{Judge: judge, FailOpen: cfg.FailOpen}}
	if cfg.Provider == "pow" {
		w, err := captcha.NewWork(captcha.WorkOptions{
			MAC:    func(parts ...[]byte) [32]byte { return root.MAC("captcha work", parts...) },
			Tenant: tenant.String(), Bits: cfg.WorkBits,
		})
		if err != nil {
			return human{}, err
		}
		h.work, h.core.Work = w, w.Check
		return h, nil
	}
	const spare = time.Second // so that it is the provider that was too slow, and not this side
	out = out.Within(fetch.Limits{Timeout: cfg.Timeout + spare, MaxConcurrent: captchaSlots})
	o := captcha.Options{Secret: cfg.Secret.Reveal(), URL: cfg.URL, Timeout: cfg.Timeout, Hosts: cfg.Hosts}
	var c captcha.Checker
	var err error
	if cfg.Provider == "turnstile" {
		c, err = captcha.NewTurnstile(out, o)
	} else {
		c, err = captcha.NewHCaptcha(out, o)
	}
	if err != nil {
		return human{}, err
	}
	h.core.Ask = c.Check
	return h, nil
}

// judge tells what a failure of a captcha means, and what the client is told.
func judge(err error) (auth.CaptchaFault, string) {
	var e *captcha.Error
	switch {
	case errors.Is(err, captcha.ErrSetup):
		return auth.CaptchaSetup, ""
	case errors.Is(err, captcha.ErrUnavailable):
		return auth.CaptchaUnavailable, ""
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return auth.CaptchaUndecided, ""
	case errors.As(err, &e):
		return auth.CaptchaRefused, strings.Join(e.Codes, ", ") // of those we know
	}
	return auth.CaptchaRefused, ""
}

// offered is what clients of the tenant may solve here.
func (h human) offered(now func() time.Time) gotrue.Work {
	if h.work == nil {
		return gotrue.Work{}
	}
	return gotrue.Work{Challenge: func() any { return h.work.Challenge(now()) }, Script: captcha.Script()}
}
