package idptest

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
)

// Landing is where a browser ends that was sent to the provider: at the
// client, with what the provider has to say.
type Landing struct {
	Method string
	URL    *url.URL   // without what Values has
	Values url.Values // of the query, or of the form that a POST brings
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// Visit goes to an authorization endpoint as a browser of the person that is
// signed in, up to the way back, which it does not take.
func Visit(ctx context.Context, address string) (*Landing, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusFound {
		at, err := res.Location()
		if err != nil {
			return nil, err
		}
		values := at.Query()
		at.RawQuery = ""
		return &Landing{Method: http.MethodGet, URL: at, Values: values}, nil
	}
	action := formAction.FindSubmatch(body)
	if res.StatusCode != http.StatusOK || action == nil {
		return nil, fmt.Errorf("%s: %s", res.Status, body)
	}
	at, err := url.Parse(html.UnescapeString(string(action[1])))
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	for _, in := range formInput.FindAllSubmatch(body, -1) {
		values.Add(html.UnescapeString(string(in[1])), html.UnescapeString(string(in[2])))
	}
	return &Landing{Method: http.MethodPost, URL: at, Values: values}, nil
}
