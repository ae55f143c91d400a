package pages

import (
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/notify"
	"gatehouse/internal/web"
)

// undone says what a notice was about, before and after its change is undone.
var undone = map[notify.Kind][2]string{
	notify.PasswordChanged:  {"The password of your account was changed.", "The new password no longer works."},
	notify.EmailChanged:     {"The e-mail address of your account was changed.", "Your account has the address it had before."},
	notify.PhoneChanged:     {"The phone number of your account was changed.", "Your account has the phone number it had before."},
	notify.IdentityLinked:   {"Another way to sign in was added to your account.", "The other way to sign in is gone."},
	notify.IdentityUnlinked: {"A way to sign in was removed from your account.", "Your account has back what was removed."},
	notify.NewDevice:        {"Somebody signed in to your account on another device.", "Nobody is signed in any more."},
}

// showUndo handles "GET /undo", the link of a notice. It changes nothing: mail
// scanners open links too.
func (p *pages) showUndo(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	q, err := p.Auth.Link(r.Context(), web.Caller(r), []auth.Kind{auth.KindUndo}, token)
	if err != nil {
		return err
	}
	text := ""
	if q.Undo != nil {
		text = undone[q.Undo.Notice][0]
	}
	return p.undo.Write(w, http.StatusOK, "Was this you?", map[string]string{"Title": "Was this you?", "Text": text, "Token": token})
}

// doUndo handles the form of that page.
func (p *pages) doUndo(w http.ResponseWriter, r *http.Request) error {
	err := p.form(w, r)
	if err != nil {
		return err
	}
	u, err := p.Auth.Undo(r.Context(), web.Caller(r), r.PostForm.Get("token"), p.Flow(r))
	if err != nil {
		return err
	}
	return p.undo.Write(w, http.StatusOK, "Your account is safe again", map[string]string{
		"Title": "Your account is safe again", "Site": p.SiteURL,
		"Text": undone[u.Notice][1] + " All sessions have ended. We have mailed you a link to choose a new password.",
	})
}
