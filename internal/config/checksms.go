package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// credential is a setting that a provider of text messages cannot do without.
type credential struct{ x, value string }

// credentials are those of the provider that was chosen.
func (s SMS) credentials() []credential {
	switch s.Provider {
	case "twilio":
		return []credential{
			{"SMS_TWILIO_ACCOUNT_SID", s.TwilioAccount},
			{"SMS_TWILIO_AUTH_TOKEN", s.TwilioToken.Reveal()},
			{"SMS_TWILIO_MESSAGE_SERVICE_SID", s.TwilioSender},
		}
	case "twilio_verify":
		return []credential{
			{"SMS_TWILIO_VERIFY_ACCOUNT_SID", s.VerifyAccount},
			{"SMS_TWILIO_VERIFY_AUTH_TOKEN", s.VerifyToken.Reveal()},
			{"SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID", s.VerifyService},
		}
	case "messagebird":
		return []credential{{"SMS_MESSAGEBIRD_ACCESS_KEY", s.MessageBirdKey.Reveal()}, {"SMS_MESSAGEBIRD_ORIGINATOR", s.MessageBirdSender}}
	case "textlocal":
		return []credential{{"SMS_TEXTLOCAL_API_KEY", s.TextlocalKey.Reveal()}, {"SMS_TEXTLOCAL_SENDER", s.TextlocalSender}}
	case "vonage":
		return []credential{
			{"SMS_VONAGE_API_KEY", s.VonageKey.Reveal()}, {"SMS_VONAGE_API_SECRET", s.VonageSecret.Reveal()}, {"SMS_VONAGE_FROM", s.VonageSender},
		}
	case "webhook":
		return []credential{{"SMS_WEBHOOK_URL", s.WebhookURL}, {"SMS_WEBHOOK_SECRETS", s.WebhookSecrets.Reveal()}}
	}
	return nil
}

// texting looks at how text messages leave.
func (k *checker) texting() {
	s := &k.SMS
	for i, c := range s.Countries {
		s.Countries[i] = strings.ToUpper(c)
	}
	var missing []string
	for _, c := range s.credentials() {
		if strings.TrimSpace(c.value) == "" && !k.bad[c.x] {
			missing = append(missing, c.x)
		}
	}
	switch {
	case len(missing) > 0:
		k.fault("SMS_PROVIDER", s.Provider+" needs "+strings.Join(missing, ", "), "set what is missing, or take the provider out")
	case k.External.Phone && s.Provider == "" && !k.Hooks.SendSMS && !k.bad["SMS_PROVIDER"] && !k.DevInbox() && !k.bad["API_HOST"] &&
		!s.Autoconfirm && len(s.TestOTP) == 0:
		k.fault("EXTERNAL_PHONE_ENABLED", "telephone numbers are a way in, and nobody sends text messages", "set SMS_PROVIDER, or take it out")
	case s.Provider != "" && !k.External.Phone && !k.bad["EXTERNAL_PHONE_ENABLED"]:
		k.warn("SMS_PROVIDER", "telephone numbers are not a way in, so it sends nothing", "set EXTERNAL_PHONE_ENABLED=true, or take it out")
	}
	k.outgoing("SMS_BASE_URL", s.BaseURL)
	k.outgoing("SMS_WEBHOOK_URL", s.WebhookURL)
	if s.Autoconfirm {
		k.warn("SMS_AUTOCONFIRM", "anyone may sign up with anyone's telephone number", "take it out, except in tests")
	}
	if len(s.TestOTP) > 0 && s.TestOTPUntil.IsZero() && !k.bad["SMS_TEST_OTP_VALID_UNTIL"] && k.public() {
		k.warn("SMS_TEST_OTP", "whoever knows its numbers and codes is let in, for ever", "set SMS_TEST_OTP_VALID_UNTIL, e.g. 2030-01-31T00:00:00Z")
	}
}

// passwords looks at what new passwords are held against.
func (k *checker) passwords() {
	p := k.Password
	if p.HIBP {
		k.outgoing("PASSWORD_HIBP_URL", p.HIBPURL)
	} else if p.HIBPClosed && !k.bad["PASSWORD_HIBP_ENABLED"] {
		k.warn("PASSWORD_HIBP_FAIL_CLOSED", "no service of stolen passwords is asked, so it does nothing", "set PASSWORD_HIBP_ENABLED=true, or take it out")
	}
	if !p.Common && p.CommonList != "" && !k.bad["PASSWORD_COMMON_CHECK"] {
		k.warn("PASSWORD_COMMON_LIST", "common passwords are not refused, so it does nothing", "take PASSWORD_COMMON_CHECK out, or this")
	}
}

// outgoing refuses the address of a service that the server would refuse to
// call: every request there would fail.
func (k *checker) outgoing(x, address string) {
	u, err := url.Parse(address)
	if err != nil || address == "" || k.Server.OutgoingAllowPrivate || k.bad["OUTGOING_ALLOW_PRIVATE"] {
		return
	}
	const mend = "use a public https address, or for development set OUTGOING_ALLOW_PRIVATE=true"
	ip, err := netip.ParseAddr(u.Hostname())
	switch {
	case u.Scheme != "https":
		k.fault(x, "the server calls others by https only", mend)
	case loopback(u.Hostname()), err == nil && (ip.Unmap().IsPrivate() || ip.Unmap().IsLinkLocalUnicast() || ip.IsUnspecified()):
		k.fault(x, "the address is not public, and the server calls public ones only", mend)
	}
}
