package webhook_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/webhook"
)

func TestCheckURL_takesWhatMayBeCalled(t *testing.T) {
	long := "https://example.com/" + strings.Repeat("a", 2048-len("https://example.com/"))
	for raw, want := range map[string][2]bool{ // in service, in development
		"https://example.com":                {true, true},
		"https://example.com:8443/in?key=1":  {true, true},
		"HTTPS://example.com/":               {true, true},
		"https://[2001:db8::1]/":             {true, true},
		long:                                 {true, true},
		long + "a":                           {},
		"http://localhost:3000/in":           {false, true},
		"":                                   {},
		"example.com/in":                     {},
		"https://":                           {},
		"https:///in":                        {},
		"https:example.com":                  {},
		"ftp://example.com/":                 {},
		"javascript:alert(1)":                {},
		"https://ada:hunter2@example.com/":   {},
		"https://hunter2@example.com/":       {},
		"https://example.com/#hunter2":       {},
		"https://example.com/#":              {},
		" https://example.com/":              {},
		"https://example.com/\nhunter2":      {},
		"https://exa mple.com/hunter2":       {},
		"https://example.com:hunter2/":       {},
		"https://example.com/%zz?k=hunter2":  {},
		"pg-functions://postgres/public/fun": {},
	} {
		for i, development := range []bool{false, true} {
			err := webhook.CheckURL(raw, development)
			if (err == nil) != want[i] {
				t.Errorf("%q in development %v: %v, want it taken: %v", raw, development, err, want[i])
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: the error repeats it: %v", raw, err)
			}
		}
	}
}

func TestCheckEvents_knowsNamesAndPatterns(t *testing.T) {
	known := []string{"user.updated", "user.banned", "session.opened", "a.b.c"}
	for _, good := range [][]string{nil, {"user.updated"}, {"user.*"}, {"user.*", "user.banned", "session.*"}, {"a.b.*", "a.*", "a.b.c"}} {
		err := webhook.CheckEvents(good, known)
		if err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][]string{
		{""},
		{"*"},
		{".*"},
		{"user"},
		{"user."},
		{"user*"},
		{"use.*"},
		{"user.updated.*"},
		{"user.up*"},
		{"User.updated"},
		{"*.updated"},
		{"session.opened", "session.closed"},
		{"user.*", "user.*"},
		slices.Repeat([]string{"user.*"}, 101),
	} {
		err := webhook.CheckEvents(bad, known)
		if err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
