package main

import (
	"context"
	"log/slog"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/notify"
)

// texts is how text messages leave, and who knows their codes.
type texts struct {
	sender notify.Texter // nil: nobody sends any
	words  *notify.SMSWords
	test   notify.TestCodes
}

// textMessages are sent by the provider the operator names, else kept in the
// development inbox, else not at all.
func textMessages(cfg *config.Config, out *fetch.Client, inbox *notify.Inbox, log *slog.Logger) (*texts, error) {
	s := cfg.SMS
	t := &texts{words: notify.NewSMSWords(s.Template, cfg.Mailer.Language, log)}
	t.words.SiteURL = cfg.Site.URL
	var err error
	t.test, err = notify.ParseTestCodes(s.TestOTP, s.TestOTPUntil.Time)
	if err != nil {
		return nil, err
	}
	sender, err := provider(s, out)
	if err != nil {
		return nil, err
	}
	switch {
	case sender != nil:
		t.sender = notify.NewBreaker(sender, time.Now)
	case inbox != nil:
		t.sender = inbox
	default:
		t.sender = nobody{log}
	}
	return t, nil
}

// provider is the service that sends text messages; nil: none is named.
func provider(s config.SMS, out *fetch.Client) (notify.Texter, error) {
	switch s.Provider {
	case "twilio":
		return notify.NewTwilio(out, notify.TwilioOptions{
			AccountSID: s.TwilioAccount, AuthToken: s.TwilioToken.Reveal(), Sender: s.TwilioSender, ContentSID: s.TwilioContent, BaseURL: s.BaseURL,
		})
	case "twilio_verify":
		return notify.NewTwilioVerify(out, notify.TwilioVerifyOptions{
			AccountSID: s.VerifyAccount, AuthToken: s.VerifyToken.Reveal(), ServiceSID: s.VerifyService, BaseURL: s.BaseURL,
		})
	case "messagebird":
		return notify.NewMessageBird(out, notify.MessageBirdOptions{AccessKey: s.MessageBirdKey.Reveal(), Originator: s.MessageBirdSender, BaseURL: s.BaseURL})
	case "textlocal":
		return notify.NewTextlocal(out, notify.TextlocalOptions{APIKey: s.TextlocalKey.Reveal(), Sender: s.TextlocalSender, BaseURL: s.BaseURL})
	case "vonage":
		return notify.NewVonage(out, notify.VonageOptions{APIKey: s.VonageKey.Reveal(), APISecret: s.VonageSecret.Reveal(), From: s.VonageSender, BaseURL: s.BaseURL})
	case "webhook":
		return notify.NewSMSWebhook(out, notify.SMSWebhookOptions{URL: s.WebhookURL, Secrets: s.WebhookSecrets.Reveal(), Now: time.Now})
	}
	return nil, nil
}

// core is what the rules have to know of it.
func (t *texts) core() auth.Texts {
	c := auth.Texts{TestCode: t.test.Code}
	if k, ok := t.sender.(notify.CodeKeeper); ok {
		c.Keeper = k.CheckCode
	}
	return c
}

// nobody sends text messages where none are wanted.
type nobody struct{ log *slog.Logger }

func (n nobody) Text(_ context.Context, m notify.SMS, _ string) error {
	n.log.Warn("a text message was thrown away, because no GATEHOUSE_SMS_PROVIDER is set", "id", m.ID)
	return nil
}
