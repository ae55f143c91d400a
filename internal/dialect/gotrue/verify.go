package gotrue

import (
	_ "embed"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// questions are the kinds a type on the wire may answer. Netlify's clients
// accept an invitation as a sign-up.
var questions = map[string][]auth.Kind{
	"signup":       {auth.KindConfirmation},
	"invite":       {auth.KindInvite},
	"recovery":     {auth.KindRecovery},
	"magiclink":    {auth.KindMagicLink, auth.KindConfirmation},
	"email":        {auth.KindMagicLink, auth.KindConfirmation},
	"email_change": {auth.KindChangeNew, auth.KindChangeCurrent},
	"sms":          {auth.KindSMS},
	"phone_change": {auth.KindPhoneChange},
}

// byPhone are the types that are answered with a number and a code alone.
var byPhone = map[string]bool{"sms": true, "phone_change": true}

// verifyRequest is POST /verify of both families.
type verifyRequest struct {
	Type      string `json:"type"`
	Token     string `json:"token"`
	TokenHash string `json:"token_hash"`
	Email     string `json:"email"`
	Phone     string `json:"phone"`
	Password  string `json:"password"`
}

// verify handles "POST /verify": JSON from a client, or the form of the page a
// mailed link opens.
func (a *api) verify(w http.ResponseWriter, r *http.Request) error {
	if web.IsForm(r) {
		return a.finishLink(w, r)
	}
	var in verifyRequest
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	method, input, err := a.answerTo(r, in)
	if err != nil {
		return err
	}
	g, err := a.Auth.SignIn(r.Context(), web.Caller(r), method, input, false)
	if err != nil {
		return err
	}
	web.LineOf(r).User = g.User.ID.String()
	if g.MorePending {
		return web.JSON(w, http.StatusOK, map[string]string{"msg": onePending, "code": "200"})
	}
	a.setCookie(w, r, g)
	return web.JSON(w, http.StatusOK, sessionJSON(g))
}

const onePending = "Confirmation link accepted. Please proceed to confirm link sent to the other email"

// answerTo tells which way in a request means.
func (a *api) answerTo(r *http.Request, in verifyRequest) (method string, input auth.Input, err error) {
	kinds := questions[in.Type]
	if kinds == nil {
		return "", input, auth.Invalid("type", "Verify requires a verification type: signup, invite, recovery, magiclink, email_change, email, sms or phone_change")
	}
	if byPhone[in.Type] || in.Phone != "" {
		return codeBySMS(in, kinds)
	}
	if in.TokenHash != "" && in.Token != "" {
		return "", input, auth.Invalid("token", "Verify requires either a token or a token hash")
	}
	input = auth.Input{Kinds: kinds, Password: in.Password}
	switch {
	case in.TokenHash != "":
		if in.Email != "" {
			return "", input, auth.Invalid("token_hash", "Only the token_hash and type should be provided")
		}
		input.Token, input.Password = in.TokenHash, ""
	case in.Token == "":
		return "", input, auth.Invalid("token", "Verify requires a token or a token hash")
	case in.Email == "": // Netlify: the long secret, and a password with an invitation
		input.Token = in.Token
		if in.Type == "signup" {
			return a.netlifySignup(r, input)
		}
		input.Password = ""
	default:
		input.Email, err = auth.CleanEmail(in.Email)
		input.Code, input.Password = strings.TrimSpace(in.Token), ""
		return "emailcode", input, err
	}
	return "emaillink", input, nil
}

// codeBySMS reads the code of a text message.
func codeBySMS(in verifyRequest, kinds []auth.Kind) (method string, input auth.Input, err error) {
	switch {
	case in.TokenHash != "":
		return "", input, auth.Invalid("token_hash", "A phone number is verified with the token of the text message, it has no token_hash")
	case in.Email != "":
		return "", input, auth.Invalid("phone", "Only an email address or phone number should be provided on verify")
	case !byPhone[in.Type]:
		return "", input, auth.Invalid("type", "A phone number is verified with the type sms or phone_change")
	case in.Phone == "":
		return "", input, auth.Invalid("phone", "Only an email address or phone number should be provided on verify")
	case in.Token == "":
		return "", input, auth.Invalid("token", "Verify requires a token or a token hash")
	}
	input = auth.Input{Kinds: kinds, Code: strings.TrimSpace(in.Token)}
	input.Phone, err = auth.CleanPhone(in.Phone)
	return "smscode", input, err
}

// netlifySignup tells a confirmation from an invitation, which Netlify's
// clients send under one name; the latter needs a password.
func (a *api) netlifySignup(r *http.Request, in auth.Input) (string, auth.Input, error) {
	_, err := a.Auth.Link(r.Context(), web.Caller(r), []auth.Kind{auth.KindInvite}, in.Token)
	switch {
	case auth.CodeOf(err) == auth.LinkFailed:
		in.Password = ""
	case err != nil:
		return "", in, err
	case in.Password == "":
		return "", in, &auth.Error{Code: auth.InvitePasswordNeeded}
	default:
		in.Kinds = []auth.Kind{auth.KindInvite}
	}
	return "emaillink", in, nil
}

//go:embed verify.html
var verifyHTML string

var verifyTemplate = web.NewPage(verifyHTML)

// titles say what a link does, for the page and its button.
var titles = map[auth.Kind][2]string{
	auth.KindConfirmation:  {"Confirm your address", "Confirm"},
	auth.KindInvite:        {"You have been invited", "Accept the invitation"},
	auth.KindRecovery:      {"Get back into your account", "Continue"},
	auth.KindMagicLink:     {"Sign in", "Sign in"},
	auth.KindChangeCurrent: {"Agree to your new address", "Agree"},
	auth.KindChangeNew:     {"Confirm your new address", "Confirm"},
}

// verifyPage handles "GET /verify", a click on a mailed link. It spends
// nothing: mail scanners and previews open links too. The page's button does.
func (a *api) verifyPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	kinds := questions[q.Get("type")]
	if q.Get("token") == "" || kinds == nil {
		return auth.Invalid("token", "Verify requires a token and a verification type")
	}
	question, err := a.Auth.Link(r.Context(), web.Caller(r), kinds, q.Get("token"))
	if a.DirectLinks && r.Method == http.MethodGet && !prefetch(r) && (err != nil || a.otherDevice(r, question) == nil) {
		err := a.Limits.Take(r, "verify")
		if err != nil {
			return err
		}
		return a.redeem(w, r, q)
	}
	if auth.CodeOf(err) == auth.LinkFailed {
		return a.redirectError(w, r, q, err)
	}
	if err != nil {
		return err
	}
	t := titles[question.Kind]
	return verifyTemplate.Write(w, http.StatusOK, t[0], map[string]any{
		"Title": t[0], "Button": t[1], "SentTo": question.SentTo, "Token": q.Get("token"), "Type": q.Get("type"), "RedirectTo": q.Get("redirect_to"),
		"Other": a.otherDevice(r, question),
	})
}

// other is what the page of a link says that was opened elsewhere than where it
// was asked for.
type other struct {
	Asked, Here string // devices
	Strict      bool   // it signs in only where it was asked for
}

// otherDevice tells whether a link asked for with PKCE was opened on another
// device, whose browser has no verifier to trade a code with. Only the names
// browsers give themselves can tell; one that is wrong costs a click.
func (a *api) otherDevice(r *http.Request, q *auth.Question) *other {
	here := auth.DeviceName(r.UserAgent())
	if q.PKCE.Challenge == "" || !q.Browser || !auth.IsBrowser(r.UserAgent()) || q.Device == here {
		return nil // an application, or a site's own server, has its links opened by a browser
	}
	return &other{Asked: q.Device, Here: here, Strict: a.Auth.Policy().StrictPKCE}
}

// prefetch reports whether a browser asks ahead of its user.
func prefetch(r *http.Request) bool {
	for _, h := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if strings.Contains(strings.ToLower(r.Header.Get(h)), "pre") {
			return true
		}
	}
	return false
}

// finishLink handles the form of the page.
func (a *api) finishLink(w http.ResponseWriter, r *http.Request) error {
	err := a.csrf.Check(r) // a foreign page must not sign its visitor in as somebody else
	if err != nil {
		return auth.Invalid("origin", "This form was sent from another site")
	}
	err = web.Form(w, r)
	if err != nil {
		return err
	}
	return a.redeem(w, r, r.PostForm)
}

// redeem spends a link and sends the browser on with what it earned.
func (a *api) redeem(w http.ResponseWriter, r *http.Request, q url.Values) error {
	kinds := questions[q.Get("type")]
	if q.Get("token") == "" || kinds == nil {
		return auth.Invalid("token", "Verify requires a token and a verification type")
	}
	g, err := a.Auth.SignIn(r.Context(), web.Caller(r), "emaillink", auth.Input{Kinds: kinds, Token: q.Get("token"), Here: q.Get("here") != ""}, true)
	if err != nil {
		if c := auth.CodeOf(err); c == auth.Internal || c == auth.Unavailable { // not the link's fault, which still works
			return err
		}
		return a.redirectError(w, r, q, err)
	}
	web.LineOf(r).User = g.User.ID.String()
	target := a.Redirects.Choose(q.Get("redirect_to"))
	switch {
	case g.MorePending:
		target = withFragment(target, url.Values{"message": {onePending}, "sb": {""}})
	case g.AuthCode != "":
		target = withQuery(target, url.Values{"code": {g.AuthCode}})
	default:
		target = withFragment(target, url.Values{
			"access_token": {g.Access}, "token_type": {"bearer"}, "expires_in": {strconv.FormatInt(int64(g.TTL.Seconds()), 10)},
			"expires_at": {strconv.FormatInt(g.Expires.Unix(), 10)}, "refresh_token": {g.Refresh}, "type": {q.Get("type")}, "sb": {""},
		})
	}
	redirect(w, target)
	return nil
}

// redirectError sends the browser on with what went wrong, in the fragment
// and, for clients with PKCE, in the query.
func (a *api) redirectError(w http.ResponseWriter, r *http.Request, q url.Values, err error) error {
	web.LineOf(r).Code = string(auth.CodeOf(err))
	an := answers[auth.CodeOf(err)]
	v := url.Values{"error": {"access_denied"}, "error_code": {an.code}, "error_description": {an.msg}}
	target := a.Redirects.Choose(q.Get("redirect_to"))
	if strings.HasPrefix(q.Get("token"), "pkce_") {
		target = withQuery(target, v)
	}
	v.Set("sb", "")
	redirect(w, withFragment(target, v))
	return nil
}

// redirect answers 303, which a browser follows with a GET: the secret of the
// request is not sent on (RFC 9110 §15.4.4).
func redirect(w http.ResponseWriter, target string) { sendOn(w, http.StatusSeeOther, target) }

// withFragment puts values where servers on the way do not see them.
func withFragment(target string, v url.Values) string {
	base, _, _ := strings.Cut(target, "#")
	return base + "#" + v.Encode()
}

func withQuery(target string, v url.Values) string {
	base, frag, found := strings.Cut(target, "#")
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	base += sep + v.Encode()
	if found {
		base += "#" + frag
	}
	return base
}
