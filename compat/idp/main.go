// Command idp runs the test identity provider for tests that are not written
// in Go. It prints one line of JSON once it listens,
//
//	{"url": "http://127.0.0.1:…", "vendors": {"github": {"base": …, "issuer": …}, …}}
//
// and ends with a signal. People are asked on a page, with the buttons #allow
// and #deny, unless -auto says otherwise.
//
// GET /_requests tells what arrived, DELETE /_requests forgets it, and
// POST /_control takes orders, any of these in one object:
//
//	"client":    {"id", "secret", "redirects": […]}   registers one, at all vendors
//	"apple":     "client id"                          answers {"apple": {team_id, key_id, private_key, secret}}
//	"person":    {"subject", "email", "email_verified", "name", "username", "avatar", "phone", "claims", "profile", "emails"}
//	"deny":      {"error", "description"}             the next sign-in
//	"fail":      {"what": "token", "status", "body", "times", "delay_ms", "hang", "garbage", "drip", "huge", "cut"}
//	"heal":      ["token"]                            or [] for all
//	"revoke":    "subject"                            what was issued so far
//	"rotate":    {"keep": true}                       a new signing key
//	"forge":     {"claims", "header", "alg", "secret", "stranger"}   all ID tokens from now on
//	"token":     {"vendor", "claims", "forge"}        answers {"token"}: with these claims alone
//	"id_token":  {"vendor", "client", "nonce", "access_token", "forge"}   answers {"id_token"}: of the person
//	"browser":   false                                no page any more
//	"access_ms": 2000                                 the life of access tokens
//	"iss":       "https://…"                          the iss parameter of the way back
//
// Package idptest says what each means. With -saml the line has one more member,
// "saml": {"url": …, "entity_id": …}: a company with people of its own. Its metadata
// is at the entity id, "url"/initiate?sp=… is the link in its portal, and
// "url"/_control takes
//
//	"trust": "<EntityDescriptor…>"              the metadata of a service provider
//	"user":  {"name_id", "attributes": {"name": [values]}}   who is signed in there
//	"flaw":  "for another audience"             of all answers from now on; "" heals
//
// for which see package samltest.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"gatehouse/internal/idptest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "idp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("idp", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:0", "`address` to listen at")
	auto := flags.Bool("auto", false, "allow every sign-in without asking")
	saml := flags.Bool("saml", false, "run the identity provider of a company, too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p, err := idptest.Serve(*addr, func(o *idptest.Options) { o.Browser = !*auto })
	if err != nil {
		return err
	}
	defer p.Close()
	told := map[string]any{"url": p.URL(), "vendors": p.Directory()}
	if *saml {
		c, err := startCompany(*addr)
		if err != nil {
			return err
		}
		defer c.close()
		told["saml"] = map[string]string{"url": c.url, "entity_id": c.EntityID}
	}
	if err := json.NewEncoder(stdout).Encode(told); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
