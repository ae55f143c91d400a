package social

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/fetch"
)

// reply is what a token endpoint answered.
type reply struct {
	Tokens
	idToken string
	all     claims // some vendors put the person in
}

// trade gets tokens for a code or a refresh token (RFC 6749 §§4.1.3, 6).
func (r *remote) trade(ctx context.Context, at string, form url.Values) (*reply, error) {
	refreshing := form.Get("grant_type") == "refresh_token"
	secret, err := r.secret()
	if err != nil {
		return nil, err
	}
	how := r.clientAuth
	if how == inEither {
		how = inHeader
	}
	rep, err := r.tradeAs(ctx, at, form, how, secret, refreshing)
	if r.clientAuth == inEither && secret != "" && errors.Is(err, errClient) {
		// Refused before anybody looked at the code, which is as good as new.
		rep, err = r.tradeAs(ctx, at, form, inBody, secret, refreshing)
	}
	return rep, err
}

// errClient is that the provider does not take us for who we say we are.
var errClient = errors.New("the provider does not know this client, or its secret")

func (r *remote) tradeAs(ctx context.Context, at string, form url.Values, how clientAuth, secret string, refreshing bool) (*reply, error) {
	id := r.s.ClientIDs[0]
	body := url.Values{}
	for key, v := range form {
		body[key] = v
	}
	if how == inBody || secret == "" {
		body.Set("client_id", id)
		if secret != "" {
			body.Set("client_secret", secret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body.Encode()))
	if err != nil {
		return nil, failed("the token endpoint of %s is at no address", r.s.Name)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if how == inHeader && secret != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	res, err := r.p.client(r.s.Name).Do(ctx, req)
	if err != nil && res == nil {
		return nil, problemOf(err)
	}
	c, unreadable := readClaims(res.Body)
	if err != nil || c["error"] != nil {
		return nil, r.refusal(res, c, err, refreshing)
	}
	if unreadable != nil {
		return nil, failed("the token endpoint of %s: %w", r.s.Name, unreadable)
	}
	return r.read(c)
}

// refusal says what a token endpoint means that did not give any. Its words are
// a code that may be logged; its descriptions might repeat what we sent.
func (r *remote) refusal(res *fetch.Response, c claims, err error, refreshing bool) error {
	if err != nil && KindOf(problemOf(err)) == Unavailable {
		return problemOf(err)
	}
	code := word(c.text("error"))
	err = fmt.Errorf("the token endpoint of %s: status %d, %s", r.s.Name, res.Status, code)
	switch code {
	case "invalid_client", "unauthorized_client", "incorrect_client_credentials", "bad_client_secret", "invalid_client_id":
		return &Error{Kind: Failed, Problem: problemFailed, Err: fmt.Errorf("%w: %w", errClient, err)}
	case "temporarily_unavailable", "server_error", "ratelimited":
		return &Error{Kind: Unavailable, Problem: problemUnavailable, Err: err}
	case noWord:
		if res.Status == http.StatusUnauthorized {
			err = fmt.Errorf("%w: %w", errClient, err)
		}
	}
	switch {
	case refreshing && res.Status != http.StatusNotFound:
		return &Error{Kind: Refused, Problem: problemRefused, Err: err}
	case code == "invalid_grant", code == "bad_verification_code", code == "invalid_code", code == "code_already_used", code == "code_expired",
		code == noWord && res.Status == http.StatusBadRequest:
		return &Error{Kind: Code, Problem: problemCode, Err: err}
	}
	return &Error{Kind: Failed, Problem: problemFailed, Err: err}
}

// read makes a reply of a token answer (RFC 6749 §5.1) as vendors write it:
// expires_in may be a string, scopes a list or separated by commas.
func (r *remote) read(c claims) (*reply, error) {
	rep := &reply{all: c, idToken: c.text("id_token")}
	rep.Access, rep.Refresh = c.text("access_token"), c.text("refresh_token")
	if rep.Access == "" && rep.idToken == "" {
		return nil, failed("the token endpoint of %s gave no token", r.s.Name)
	}
	if len(rep.Access) > maxIDToken || len(rep.Refresh) > maxIDToken {
		return nil, failed("the token endpoint of %s gave tokens nobody could keep", r.s.Name)
	}
	switch strings.ToLower(c.text("token_type")) {
	case "mac", "dpop":
		return nil, failed("the tokens of %s are no bearer tokens", r.s.Name)
	}
	if seconds := seconds(c["expires_in"]); seconds > 0 {
		rep.ExpiresAt = r.p.now().Add(time.Duration(seconds) * time.Second)
	}
	scopes := c.texts("scope")
	if scopes == nil {
		scopes = c.texts("scopes") // Bitbucket
	}
	rep.Scopes = strings.Join(strings.FieldsFunc(strings.Join(scopes, " "), func(c rune) bool { return c == ' ' || c == ',' }), " ")
	if len(rep.Scopes) > maxText {
		rep.Scopes = ""
	}
	return rep, nil
}

func seconds(v any) int64 {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n < 1<<31) {
		return 0
	}
	return int64(n)
}

// secret is what we prove ourselves with.
func (r *remote) secret() (string, error) {
	if r.s.Secret == "" && r.name == "apple" {
		return appleSecret(r.s, r.iss, r.p.now())
	}
	return r.s.Secret, nil
}

// get asks the vendor's API on somebody's behalf.
func (r *remote) get(ctx context.Context, at, access string, header map[string]string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, failed("the profiles of %s are at no address", r.s.Name)
	}
	if access != "" {
		req.Header.Set("Authorization", "Bearer "+access)
	}
	req.Header.Set("Accept", "application/json")
	for key, v := range header {
		req.Header.Set(key, v)
	}
	res, err := r.p.client(r.s.Name).Do(ctx, req)
	if err != nil {
		e := problemOf(err)
		// 403 is also how GitHub says that we ask too often: nobody's session ends for that.
		if e.Kind == Refused && res != nil && (res.Header.Get("Retry-After") != "" || res.Header.Get("X-Ratelimit-Remaining") == "0") {
			e.Kind, e.Problem = Unavailable, problemUnavailable
		}
		return nil, e
	}
	return res.Body, nil
}

// object is get for a JSON object.
func (r *remote) object(ctx context.Context, at, access string, header map[string]string) (claims, error) {
	body, err := r.get(ctx, at, access, header)
	if err != nil {
		return nil, err
	}
	c, err := readClaims(body)
	if err != nil {
		return nil, failed("the profile of %s: %w", r.s.Name, err)
	}
	return c, nil
}
