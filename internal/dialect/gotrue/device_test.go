package gotrue_test

import (
	"net/http"
	"strings"
	"testing"
)

const (
	firefox = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	safari  = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)

// A link that finishes at once asks first where it was opened on another device
// than it was asked for on, whose browser alone has the verifier.
func TestLink_aDirectOneAsksOnAnotherDevice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.edge.DirectLinks = true })
	h.newUser("anna@example.com")
	h.must(http.StatusOK, "POST", "/otp", `{"email":"anna@example.com",`+asS256+`}`, firefox)
	path := strings.TrimPrefix(h.lastMail("anna@example.com").Link, external)
	for range 2 {
		a := h.must(http.StatusOK, "GET", path, "", safari)
		if fields, _ := inputs(a.Body.String()); fields["here"] != "1" {
			t.Fatalf("the page's form holds %q, want here", fields)
		}
	}
	if a := h.do("GET", path, "", firefox); a.Code != http.StatusSeeOther || !strings.Contains(a.Header().Get("Location"), "?code=") {
		t.Errorf("where it was asked for it is %d to %q, want 303 with a code", a.Code, a.Header().Get("Location"))
	}
}

// An application, and a site's own server, ask by themselves and have a browser
// open the link: that is no other device.
func TestLink_ofAProgramIsOpenedByAnyBrowser(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"User-Agent: node", "User-Agent: curl/8.5.0", "User-Agent: okhttp/4.12.0", "User-Agent: "} {
		h := newHouse(t, nil)
		h.newUser("anna@example.com")
		h.must(http.StatusOK, "POST", "/otp", `{"email":"anna@example.com",`+asS256+`}`, program)
		a := h.must(http.StatusOK, "GET", strings.TrimPrefix(h.lastMail("anna@example.com").Link, external), "", safari)
		if fields, _ := inputs(a.Body.String()); fields["here"] != "" || strings.Contains(a.Body.String(), "You asked for it in") {
			t.Errorf("asked for by %q, the page speaks of another device:\n%s", program, a.Body)
		}
	}
}

// Only a PKCE link says where it was asked for: others work everywhere alike.
func TestLink_aPlainOneNamesNoDevice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	h.must(http.StatusOK, "POST", "/otp", `{"email":"anna@example.com"}`, firefox)
	a := h.must(http.StatusOK, "GET", strings.TrimPrefix(h.lastMail("anna@example.com").Link, external), "", safari)
	if fields, _ := inputs(a.Body.String()); fields["here"] != "" || strings.Contains(a.Body.String(), "Firefox") {
		t.Errorf("the page speaks of devices:\n%s", a.Body)
	}
}

func TestChannel_whatsAppIsForThoseWhoCanSendIt(t *testing.T) {
	t.Parallel()
	for provider, status := range map[string]int{
		"": http.StatusOK, "twilio": http.StatusOK, "twilio_verify": http.StatusOK, "webhook": http.StatusOK,
		"vonage": http.StatusBadRequest, "messagebird": http.StatusBadRequest, "textlocal": http.StatusBadRequest,
	} {
		h := newHouse(t, func(s *setup) { s.policy.PhoneDisabled, s.edge.SMSProvider = false, provider })
		h.must(status, "POST", "/otp", `{"phone":"+4915112345678","channel":"whatsapp"}`)
		h.must(http.StatusOK, "POST", "/otp", `{"phone":"+4915112345679","channel":"sms"}`)
	}
}
