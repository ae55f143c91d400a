package config_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

const (
	captchas    = "GOTRUE_SECURITY_CAPTCHA_ENABLED=true "
	captchaKey  = "GOTRUE_SECURITY_CAPTCHA_SECRET=hunter2 "
	openCaptcha = "GATEHOUSE_CAPTCHA_FAIL_OPEN=true "
	trialKey    = "GOTRUE_SECURITY_CAPTCHA_SECRET=1x0000000000000000000000000000000AA "
)

func TestLoad_refusesCaptchasNobodyJudges(t *testing.T) {
	for environ, want := range map[string]string{
		captchas: "GATEHOUSE_SECURITY_CAPTCHA_SECRET: it is missing, and hcaptcha is to judge captchas; " +
			"set it to the secret key of your site there, or SECURITY_CAPTCHA_PROVIDER=pow to ask no third party",
		captchas + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=turnstile":                    "GATEHOUSE_SECURITY_CAPTCHA_SECRET: it is missing, and turnstile is",
		captchas + "GOTRUE_SECURITY_CAPTCHA_SECRET=":                               "SECURITY_CAPTCHA_SECRET: it is missing, and hcaptcha is",
		captchas + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=recaptcha":                    "GOTRUE_SECURITY_CAPTCHA_PROVIDER: \"recaptcha\" is not a word known here; write hcaptcha, turnstile, pow",
		captchas + captchaKey + "GATEHOUSE_CAPTCHA_URL=http://captcha.example.com": "GATEHOUSE_CAPTCHA_URL: the server calls others by https only",
		captchas + captchaKey + "GATEHOUSE_CAPTCHA_URL=https://127.0.0.1:9":        "GATEHOUSE_CAPTCHA_URL: the address is not public",
		captchas + captchaKey + "GATEHOUSE_CAPTCHA_URL=captcha":                    "GATEHOUSE_CAPTCHA_URL: \"captcha\" is not an absolute http or https URL",
		captchas + captchaKey + "GATEHOUSE_CAPTCHA_HOSTS=https://a.example":        "GATEHOUSE_CAPTCHA_HOSTS: \"https://a.example\" is not a host",
		captchas + captchaKey + "GOTRUE_SECURITY_CAPTCHA_TIMEOUT=1ms":              "GOTRUE_SECURITY_CAPTCHA_TIMEOUT: 1ms is out of bounds; write 100ms to 1m",
		captchas + captchaKey + "GOTRUE_SECURITY_CAPTCHA_TIMEOUT=0":                "GOTRUE_SECURITY_CAPTCHA_TIMEOUT: 0s is out of bounds",
		"GATEHOUSE_CAPTCHA_WORK_BITS=7":                                            "GATEHOUSE_CAPTCHA_WORK_BITS: 7 is out of bounds; write 8 to 28",
		"GATEHOUSE_CAPTCHA_WORK_BITS=29":                                           "GATEHOUSE_CAPTCHA_WORK_BITS: 29 is out of bounds",
		"GATEHOUSE_CAPTCHA_FAIL_OPEN=perhaps":                                      "GATEHOUSE_CAPTCHA_FAIL_OPEN: \"perhaps\" is neither true nor false",
		captchas + trialKey + public:                                               "GOTRUE_SECURITY_CAPTCHA_SECRET: it is one that the provider publishes for tests: every token is taken, or none",
	} {
		_, r := config.Load(source(t, strings.Fields(environ), nil))
		if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Faults, want)
		}
		if err := r.Err(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the secret is told: %v", environ, err)
		}
	}
}

func TestLoad_warnsOfCaptchasThatAreNotAsTheySeem(t *testing.T) {
	for environ, want := range map[string]string{
		captchas + trialKey: "GOTRUE_SECURITY_CAPTCHA_SECRET: it is one that the provider publishes for tests",
		captchas + "GOTRUE_SECURITY_CAPTCHA_SECRET=0x0000000000000000000000000000000000000000": "GOTRUE_SECURITY_CAPTCHA_SECRET: it is one that",
		captchas + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=pow " + openCaptcha:                       "GATEHOUSE_CAPTCHA_FAIL_OPEN: nobody is asked about a proof of work",
		captchas + captchaKey + openCaptcha: "GATEHOUSE_CAPTCHA_FAIL_OPEN: it does nothing while SECURITY_CAPTCHA_TIMEOUT, 10s, is not less than API_MAX_REQUEST_DURATION, 10s; " +
			"set SECURITY_CAPTCHA_TIMEOUT to e.g. 2s",
	} {
		_, r := load(t, strings.Fields(environ)...)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Warnings, want)
		}
	}
}

func TestLoad_acceptsCaptchas(t *testing.T) {
	for _, environ := range []string{
		captchas + captchaKey,
		captchas + captchaKey + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=turnstile GOTRUE_SECURITY_CAPTCHA_TIMEOUT=2s " + openCaptcha,
		captchas + captchaKey + "GATEHOUSE_API_MAX_REQUEST_DURATION=0 " + openCaptcha,
		captchas + captchaKey + "GATEHOUSE_CAPTCHA_URL=http://127.0.0.1:9 GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true",
		captchas + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=pow GATEHOUSE_CAPTCHA_WORK_BITS=28",
		captchas + "GOTRUE_SECURITY_CAPTCHA_PROVIDER=pow GATEHOUSE_CAPTCHA_WORK_BITS=8 " + captchaKey,
		// Off, nothing of it is looked at.
		trialKey + openCaptcha + "GATEHOUSE_CAPTCHA_URL=http://127.0.0.1:9",
		"GOTRUE_SECURITY_CAPTCHA_ENABLED=false",
	} {
		if _, r := load(t, strings.Fields(environ)...); len(r.Warnings) != 0 {
			t.Errorf("%q: got warnings %v, want none", environ, r.Warnings)
		}
	}
}

func TestLoad_readsWhatIsOfCaptchas(t *testing.T) {
	usual := config.Captcha{Provider: "hcaptcha", Timeout: 10 * time.Second, WorkBits: 18}
	c, _ := load(t)
	if diff := cmp.Diff(usual, c.Captcha); diff != "" {
		t.Errorf("nothing set: (-want +got):\n%s", diff)
	}
	c, r := config.Load(source(t, []string{"GATEHOUSE_CAPTCHA_HOSTS=a.example, b.example", "GATEHOUSE_CAPTCHA_WORK_BITS=20"},
		map[string]string{"gatehouse.yaml": "security: {captcha: {enabled: true, provider: turnstile, secret: hunter2, timeout: 3s}}\n"}))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := config.Captcha{Enabled: true, Provider: "turnstile", Secret: "hunter2", Timeout: 3 * time.Second, Hosts: []string{"a.example", "b.example"}, WorkBits: 20}
	if diff := cmp.Diff(want, c.Captcha); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
