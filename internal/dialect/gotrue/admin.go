package gotrue

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// invite handles "POST /invite".
func (a *api) invite(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in struct {
		Email string         `json:"email"`
		Data  map[string]any `json:"data"`
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	f, err := a.flow(r, pkceFields{})
	if err != nil {
		return err
	}
	u, err := a.Auth.Invite(r.Context(), c, in.Email, in.Data, f)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(u))
}

const (
	defaultPage, maxPage = 50, 1000
	maxFilter            = 256 // bytes
)

// listUsers handles "GET /admin/users".
func (a *api) listUsers(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	q := r.URL.Query()
	page, err := number(q, "page", 1)
	if err != nil {
		return err
	}
	size, err := number(q, "per_page", defaultPage)
	if err != nil {
		return err
	}
	size = min(size, maxPage)
	if filter := q.Get("filter"); len(filter) > maxFilter || !utf8.ValidString(filter) || strings.ContainsRune(filter, 0) {
		return auth.Invalid("filter", "The filter must be text of 256 bytes or less") // a database ends its pattern at NUL, and would match everybody
	}
	f := auth.UserFilter{Contains: q.Get("filter"), Offset: (page - 1) * size, Limit: size, Aud: r.Header.Get("X-JWT-AUD")}
	if sort := q.Get("sort"); sort != "" {
		column, dir, _ := strings.Cut(strings.TrimSpace(sort), " ")
		dir = strings.ToLower(strings.TrimSpace(dir))
		if !slices.Contains(auth.UserSorts, column) || !slices.Contains([]string{"", "asc", "desc"}, dir) {
			return auth.Invalid("sort", "bad field for sort '"+column+"': write one of "+strings.Join(auth.UserSorts, ", ")+", and asc or desc")
		}
		f.Sort, f.Asc = column, dir == "asc"
	}
	if after := q.Get("after"); after != "" {
		mark, err := f.ParseUserMark(after)
		if err != nil {
			return auth.Invalid("after", "Bad Pagination Parameters: after is not from a Link header of this list")
		}
		f.After = &mark
	}
	if a.byCursor(q) {
		return a.cursorPage(w, r, c, f)
	}
	users, total, err := a.Auth.Users(r.Context(), c, f)
	if err != nil {
		return err
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(total))
	after := ""
	if len(users) > 0 {
		after = f.Mark(&users[len(users)-1]).String()
	}
	w.Header().Set("Link", pageLinks(r.URL, page, size, total, after))
	return web.JSON(w, http.StatusOK, map[string]any{"users": userList(users), "aud": a.listAudience(f)})
}

// byCursor tells whether a list is asked for by cursor.
func (a *api) byCursor(q url.Values) bool {
	paged := q.Get("page") != "" || q.Get("per_page") != ""
	return !paged && (a.CursorPages || q.Get("cursor") != "" || q.Get("limit") != "")
}

// cursorPage answers with the users behind a cursor and the next one.
func (a *api) cursorPage(w http.ResponseWriter, r *http.Request, c auth.Caller, f auth.UserFilter) error {
	q := r.URL.Query()
	size, err := number(q, "limit", defaultPage)
	if err != nil {
		return err
	}
	size = min(size, maxPage)
	f.Offset, f.Limit, f.After = 0, size+1, nil // one more tells whether there are more
	if cursor := q.Get("cursor"); cursor != "" {
		mark, err := f.ParseUserMark(cursor)
		if err != nil {
			return auth.Invalid("cursor", "Bad Pagination Parameters: cursor is not from an answer of this list in this order")
		}
		f.After = &mark
	}
	users, total, err := a.Auth.Users(r.Context(), c, f)
	if err != nil {
		return err
	}
	page := map[string]any{"has_more": len(users) > size}
	if len(users) > size {
		users = users[:size]
		page["next_cursor"] = f.Mark(&users[size-1]).String()
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(total))
	return web.JSON(w, http.StatusOK, map[string]any{"users": userList(users), "aud": a.listAudience(f), "pagination": page})
}

func userList(users []auth.User) []user {
	list := make([]user, 0, len(users))
	for i := range users {
		u := userJSON(&users[i])
		u.Identities = nil // a page is one statement; clients of lists do not look
		list = append(list, u)
	}
	return list
}

func (a *api) listAudience(f auth.UserFilter) string {
	if f.Aud == "" {
		return a.Auth.Policy().Audience
	}
	return f.Aud
}

// number reads a positive number of the query; empty means the default, which
// some clients send.
func number(q url.Values, name string, unset int) (int, error) {
	s := q.Get(name)
	if s == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1_000_000_000 {
		return 0, auth.Invalid(name, "Bad Pagination Parameters: "+name+" must be a positive number")
	}
	return n, nil
}

// pageLinks is the Link header (RFC 8288). Clients find the page by the first
// "=", so page stays the first key, and rel keeps its quotes. Who follows the
// next page as it stands asks for what is behind the last user seen, which
// costs the same on page ten thousand and skips nobody when users come and go.
func pageLinks(u *url.URL, page, size, total int, after string) string {
	last := max(1, (total+size-1)/size)
	asked := url.Values{}
	for _, name := range []string{"filter", "sort", "query"} {
		if v := u.Query().Get(name); v != "" {
			asked.Set(name, v)
		}
	}
	link := func(n int, rel, after string) string {
		more := ""
		if after != "" {
			more = "&after=" + after
		}
		if len(asked) > 0 {
			more += "&" + asked.Encode()
		}
		return fmt.Sprintf(`<%s?page=%d&per_page=%d%s>; rel="%s"`, u.Path, n, size, more, rel)
	}
	var links []string
	if page < last {
		links = append(links, link(page+1, "next", after))
	}
	if page > 1 {
		links = append(links, link(min(page-1, last), "prev", ""))
	}
	return strings.Join(append(links, link(last, "last", "")), ", ")
}

// adminUser is the body of POST and PUT /admin/users.
type adminUser struct {
	ID           *string        `json:"id"`
	Aud          *string        `json:"aud"`
	Role         *string        `json:"role"`
	Email        *string        `json:"email"`
	Phone        *string        `json:"phone"`
	Password     *string        `json:"password"`
	PasswordHash *string        `json:"password_hash"`
	EmailConfirm *bool          `json:"email_confirm"`
	Confirm      *bool          `json:"confirm"` // Netlify's name
	PhoneConfirm *bool          `json:"phone_confirm"`
	UserMetadata map[string]any `json:"user_metadata"`
	Data         map[string]any `json:"data"` // gotrue-js
	AppMetadata  map[string]any `json:"app_metadata"`
	BanDuration  *string        `json:"ban_duration"`
}

func (in adminUser) changes() (auth.UserChanges, error) {
	ch := auth.UserChanges{
		Aud: in.Aud, Role: in.Role, Email: in.Email, EmailConfirmed: in.EmailConfirm, Password: in.Password, PasswordHash: in.PasswordHash,
		Phone: in.Phone, PhoneConfirmed: in.PhoneConfirm, AppData: in.AppMetadata, UserData: in.UserMetadata,
	}
	if ch.EmailConfirmed == nil {
		ch.EmailConfirmed = in.Confirm
	}
	if ch.UserData == nil {
		ch.UserData = in.Data
	}
	if in.ID != nil && *in.ID != "" {
		id, err := auth.ParseUserID(*in.ID)
		if err != nil || id.IsZero() {
			return ch, auth.Invalid("id", "ID must be a valid UUID")
		}
		ch.ID = &id
	}
	if in.BanDuration != nil && *in.BanDuration != "" {
		var d time.Duration
		if *in.BanDuration != "none" {
			var err error
			d, err = time.ParseDuration(*in.BanDuration)
			if err != nil || d <= 0 {
				return ch, auth.Invalid("ban_duration", "invalid format for ban duration: write a duration such as 24h, or none")
			}
		}
		ch.BanFor = &d
	}
	return ch, nil
}

// addUser handles "POST /admin/users".
func (a *api) addUser(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in adminUser
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	ch, err := in.changes()
	if err != nil {
		return err
	}
	if ch.EmailConfirmed == nil && a.Auth.Policy().Autoconfirm {
		yes := true
		ch.EmailConfirmed = &yes
	}
	if ch.PhoneConfirmed == nil && a.Auth.Policy().PhoneAutoconfirm {
		yes := true
		ch.PhoneConfirmed = &yes
	}
	u, err := a.Auth.AddUser(r.Context(), c, ch)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(u))
}

// showUser handles "GET /admin/users/{id}".
func (a *api) showUser(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	u, err := a.Auth.User(r.Context(), c, id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(u))
}

// setUser handles "PUT /admin/users/{id}".
func (a *api) setUser(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	var in adminUser
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	in.ID = nil
	ch, err := in.changes()
	if err != nil {
		return err
	}
	u, err := a.Auth.SetUser(r.Context(), c, id, ch)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(u))
}

// dropUser handles "DELETE /admin/users/{id}".
func (a *api) dropUser(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	var in struct {
		ShouldSoftDelete bool `json:"should_soft_delete"`
	}
	err = web.OptionalBody(w, r, &in)
	if err != nil {
		return err
	}
	err = a.Auth.DropUser(r.Context(), c, id, in.ShouldSoftDelete)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

func pathUser(r *http.Request) (auth.UserID, error) {
	id, err := auth.ParseUserID(r.PathValue("id"))
	if err != nil {
		return id, &auth.Error{Code: auth.NotFound, Field: "id"}
	}
	return id, nil
}

// generateLink handles "POST /admin/generate_link".
func (a *api) generateLink(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in struct {
		Type       string         `json:"type"`
		Email      string         `json:"email"`
		NewEmail   string         `json:"new_email"`
		Password   string         `json:"password"`
		Data       map[string]any `json:"data"`
		RedirectTo string         `json:"redirect_to"`
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	kind := map[string]auth.Kind{
		"signup": auth.KindConfirmation, "invite": auth.KindInvite, "magiclink": auth.KindMagicLink, "recovery": auth.KindRecovery,
		"email_change_current": auth.KindChangeCurrent, "email_change_new": auth.KindChangeNew,
	}[in.Type]
	if kind == "" {
		return auth.Invalid("type", "Invalid email action link type requested: "+in.Type)
	}
	f, err := a.flow(r, pkceFields{})
	if err != nil {
		return err
	}
	if in.RedirectTo != "" {
		f.RedirectTo = a.Redirects.Choose(in.RedirectTo)
	}
	m, err := a.Auth.MakeLink(r.Context(), c, auth.LinkRequest{
		Kind: kind, Email: in.Email, NewEmail: in.NewEmail, Password: in.Password, Data: in.Data,
	}, f)
	if err != nil {
		return err
	}
	action, _ := f.Links(m.Kind, m.Link, f.RedirectTo)
	wire := in.Type
	if m.Kind != kind {
		wire = verifyType[m.Kind]
	}
	return web.JSON(w, http.StatusOK, struct {
		user
		ActionLink       string `json:"action_link"`
		EmailOTP         string `json:"email_otp"`
		HashedToken      string `json:"hashed_token"`
		VerificationType string `json:"verification_type"`
		RedirectTo       string `json:"redirect_to"`
	}{userJSON(&m.User), action, m.Code, m.Link, wire, f.RedirectTo})
}
