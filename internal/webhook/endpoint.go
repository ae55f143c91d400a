package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The limits of event endpoints.
const (
	maxURL   = 2 << 10
	maxNames = 100
)

// CheckURL reports why an address cannot be an endpoint's. Plain http is for
// development alone. Where the name leads to is judged at each call, by the
// client. The error may be shown: it holds nothing of the address.
func CheckURL(raw string, development bool) error {
	if len(raw) > maxURL {
		return fmt.Errorf("the URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Opaque != "", u.Hostname() == "", strings.TrimSpace(raw) != raw:
		return errors.New("the URL cannot be read; write https://host/path")
	case u.Scheme != "https" && (u.Scheme != "http" || !development):
		return errors.New("the URL must begin with https://")
	case u.User != nil: // would be shown to whoever may list endpoints
		return errors.New("the URL must hold no user or password")
	case strings.Contains(raw, "#"): // never sent
		return errors.New("the URL must have no fragment")
	}
	return nil
}

// CheckEvents reports why a list of names, and patterns such as user.*, cannot
// be what an endpoint wants. known are all names there are. An empty list
// stands for all of them.
func CheckEvents(events, known []string) error {
	if len(events) > maxNames {
		return fmt.Errorf("more than %d events are listed", maxNames)
	}
	for i, e := range events {
		prefix, pattern := strings.CutSuffix(e, ".*")
		named := slices.Contains(known, e)
		if pattern {
			named = slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, prefix+".") })
		}
		switch {
		case !named:
			return fmt.Errorf("event %d of the list is none of this server's; docs/events.md has them all", i+1)
		case slices.Contains(events[:i], e):
			return fmt.Errorf("event %d is listed twice", i+1)
		}
	}
	return nil
}
