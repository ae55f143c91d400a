package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/breach"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/notify"
	"gatehouse/internal/schema"
)

// policy is the operator's part of the rules.
func policy(cfg *config.Config) auth.Policy {
	idle := cfg.Session.Inactivity
	life := cfg.JWT.RefreshLife.Duration()
	if life > 0 && (idle == 0 || life < idle) {
		idle = life // Netlify's name for how long an unused refresh token lives
	}
	m, sms := cfg.Mailer, cfg.SMS
	return auth.Policy{
		SignupDisabled: cfg.Site.DisableSignup, EmailDisabled: !cfg.External.Email, MagicLinkDisabled: !cfg.External.MagicLink,
		PhoneDisabled: !cfg.External.Phone, AnonymousDisabled: !cfg.External.Anonymous, LinkingDisabled: !cfg.Site.ManualLinking,
		Autoconfirm: m.Autoconfirm, PhoneAutoconfirm: sms.Autoconfirm, UnverifiedSignIn: m.Unverified, SecureEmailChange: m.SecureEmailChange,
		Linking: linking(cfg.Providers.Linking), DropTokens: !cfg.Providers.KeepTokens, Recheck: cfg.Providers.Recheck,
		CustomDisabled: !cfg.Providers.Custom, CustomMost: cfg.Providers.CustomMax, SAMLDisabled: !cfg.SAML.Enabled, RelayTTL: cfg.SAML.RelayLife,
		StrictPKCE: m.PKCEBinding == "strict", Reveal: reveal(cfg),
		Audience: cfg.JWT.Audience, DefaultRole: cfg.JWT.DefaultGroup, AdminRole: cfg.JWT.AdminGroup, AdminRoles: cfg.JWT.AdminRoles,
		OperatorToken: cfg.Server.OperatorToken.Reveal(), Issuer: cfg.JWT.Issuer, AccessTTL: cfg.JWT.Life.Duration(),
		SessionTimebox: cfg.Session.Timebox, SessionInactivity: idle, ReuseGrace: cfg.Session.ReuseGrace.Duration(),
		SessionsPerUser: cfg.Session.PerUser, SingleSession: cfg.Session.Single, LowAAL: cfg.Session.LowAAL,
		CodeDigits: m.OTPLength, CodeTTL: m.CodeLife(), LinkTTL: m.LinkLife(), InviteTTL: m.InviteAge,
		FlowTTL: cfg.External.FlowLife, ConfirmationTTL: m.ConfirmationAge, RecoveryTTL: m.RecoveryAge,
		MailEvery: cfg.SMTP.MaxFrequency, MailsPerDay: m.PerDay, MailRate: auth.Rate(cfg.RateLimit.MailSent), MailOnlyTo: cfg.External.OnlyTo,
		Notices:   notices(m.Notices),
		SMSDigits: sms.OTPLength, SMSCodeTTL: sms.OTPExp.Duration(), SMSEvery: sms.MaxFrequency, SMSPerHour: sms.PerHour, SMSPerDay: sms.PerDay, SMSPerPrefix: sms.PerPrefix,
		SMSRate: auth.Rate(cfg.RateLimit.SMSSent), SMSBudget: sms.Budget, SMSCountries: sms.Countries,
		MinPassword: cfg.Password.MinLength, RequiredCharacters: cfg.Password.Required,
		PasswordFree: passwordFree(cfg.RateLimit), PasswordDelayMax: cfg.RateLimit.PasswordDelay,
		ReauthenticatePW: cfg.Session.Reauthentication, CurrentPW: cfg.Session.CurrentPassword,
		KeyOverlap: cfg.JWT.RotationOverlap, KeyEvery: cfg.JWT.RotateEvery, SiteURL: cfg.Site.URL,
	}
}

// passwordFree is 0, no limit, when the operator wants none.
func passwordFree(r config.RateLimit) int {
	if r.Limits == "off" {
		return 0
	}
	return r.PasswordFree
}

func reveal(cfg *config.Config) auth.Reveal {
	switch r := cfg.Site.Reveal; {
	case r == "all", r == "" && cfg.Server.Dialect == "netlify":
		return auth.RevealAll
	case r == "hint":
		return auth.RevealHint
	}
	return auth.RevealNothing
}

func notices(n config.Notices) map[notify.Kind]bool {
	return map[notify.Kind]bool{
		notify.PasswordChanged: n.PasswordChanged, notify.EmailChanged: n.EmailChanged, notify.PhoneChanged: n.PhoneChanged,
		notify.IdentityLinked: n.IdentityLinked, notify.IdentityUnlinked: n.IdentityUnlinked, notify.NewDevice: n.NewDevice,
	}
}

// undoURL makes the links of notices, which lead to a page of ours.
func undoURL(cfg *config.Config) func(string) string {
	return func(token string) string {
		return strings.TrimSuffix(cfg.Server.ExternalURL, "/") + "/undo?token=" + token
	}
}

// passwordChecks are all that new passwords can be held against, besides their
// length; checksOf picks those a tenant wants.
func passwordChecks(e env, cfg *config.Config, out *fetch.Client, log *slog.Logger) (auth.PasswordChecks, error) {
	p := cfg.Password
	more, err := commonList(e, cfg)
	if err != nil && p.Common {
		return auth.PasswordChecks{}, err
	}
	common := func(password string) bool { return breach.Common(password) || more.Has(password) }
	service := breach.New(out, p.HIBPURL, p.HIBPAgent, time.Now)
	return auth.PasswordChecks{
		Common: func(password string) bool { return breach.Guessable(password, common) },
		Leaked: func(ctx context.Context, password string) (bool, error) {
			found, err := service.Check(ctx, password)
			if errors.Is(err, breach.ErrResting) {
				log.Debug("the service of stolen passwords is left alone for a while")
			}
			return found, err
		},
	}, nil
}

// checksOf are the checks the settings ask for.
func checksOf(all auth.PasswordChecks, cfg *config.Config) auth.PasswordChecks {
	p := cfg.Password
	checks := auth.PasswordChecks{Closed: p.HIBPClosed}
	if level, ok := breach.Level(p.Strength); ok && p.Strength != "" {
		checks.Strength, checks.MinLength = level.Weak, level.MinBytes
	}
	if p.Common {
		checks.Common = all.Common
	}
	if p.HIBP {
		checks.Leaked = all.Leaked
	}
	return checks
}

// commonList reads the operator's own list of common passwords.
func commonList(e env, cfg *config.Config) (*breach.List, error) {
	path, named := cfg.Password.CommonList, true
	if path == "" {
		path, named = filepath.Join(cfg.Server.Data, "common-passwords.txt"), false
	}
	f, err := os.Open(under(e, path))
	if !named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) { // of a folder that is none others speak
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the common passwords cannot be read: %w", err)
	}
	defer f.Close()
	list, err := breach.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s is not a list of passwords: %w", path, err)
	}
	return list, nil
}

// dataSchema reads the operator's schema of user data.
func dataSchema(e env, cfg *config.Config) (auth.Schema, error) {
	if cfg.Site.DataSchema == "" {
		return nil, nil
	}
	text, err := os.ReadFile(under(e, cfg.Site.DataSchema))
	if err != nil {
		return nil, fmt.Errorf("the schema of user data cannot be read: %w", err)
	}
	s, err := schema.New(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not a schema of user data: %w", cfg.Site.DataSchema, err)
	}
	return s, nil
}
