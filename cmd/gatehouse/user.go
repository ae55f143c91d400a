package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Add a user with a confirmed address or number."`
	Show    userShowCmd    `cmd:"" help:"Show a user and what happened to them lately."`
	List    userListCmd    `cmd:"" help:"List users, newest first."`
	Ban     userBanCmd     `cmd:"" help:"Ban a user, or lift the ban."`
	Delete  userDeleteCmd  `cmd:"" help:"Delete a user and all their sessions."`
	Promote userPromoteCmd `cmd:"" help:"Make a user an administrator, or take it back."`
	SignOut userSignOutCmd `cmd:"" name:"sign-out" help:"End all sessions of a user, or of everybody."`
}

// userOut is a user in JSON for scripts.
type userOut struct {
	ID           string          `json:"id"`
	Email        string          `json:"email"`
	Phone        string          `json:"phone,omitempty"`
	IsAnonymous  bool            `json:"is_anonymous,omitempty"`
	Role         string          `json:"role"`
	Confirmed    bool            `json:"confirmed"`
	BannedUntil  time.Time       `json:"banned_until,omitzero"`
	LastSignInAt time.Time       `json:"last_sign_in_at,omitzero"`
	CreatedAt    time.Time       `json:"created_at"`
	UserMetadata json.RawMessage `json:"user_metadata"`
	AppMetadata  json.RawMessage `json:"app_metadata"`
	Events       []eventOut      `json:"events,omitempty"`
}

type eventOut struct {
	At    time.Time       `json:"at"`
	Name  string          `json:"name"`
	Actor string          `json:"actor"`
	IP    string          `json:"ip,omitempty"`
	Data  json.RawMessage `json:"data"`
}

func outOf(u *auth.User) userOut {
	return userOut{
		ID: u.ID.String(), Email: u.Email, Phone: u.Phone, IsAnonymous: u.IsAnonymous, Role: u.Role,
		Confirmed: !u.EmailVerifiedAt.IsZero() || !u.PhoneVerifiedAt.IsZero(), BannedUntil: u.BannedUntil, LastSignInAt: u.LastSignInAt, CreatedAt: u.CreatedAt, UserMetadata: u.UserMetadata, AppMetadata: u.AppMetadata,
	}
}

// cliCaller is the actor of every offline change.
var cliCaller = auth.Caller{Actor: "cli"}

// withHouse opens the house for f.
func withHouse(ctx context.Context, e env, f func(*house) error) error {
	return inHouse(ctx, e, false, f)
}

func inHouse(ctx context.Context, e env, create bool, f func(*house) error) (err error) {
	h, err := openHouse(ctx, e, create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.db.Close()) }()
	defer h.out.Close()
	return spoken(f(h))
}

// withUser opens the house and finds a user by address, number or id.
func withUser(ctx context.Context, e env, who string, f func(*house, *auth.User) error) error {
	return withHouse(ctx, e, func(h *house) error {
		u, err := h.find(ctx, who)
		if auth.CodeOf(err) == auth.UserNotFound || auth.CodeOf(err) == auth.EmailInvalid {
			return fmt.Errorf("there is no user %q; gatehouse user list shows them", who)
		}
		if err != nil {
			return err
		}
		return f(h, u)
	})
}

func (h *house) find(ctx context.Context, who string) (*auth.User, error) {
	id, err := auth.ParseUserID(who)
	if err == nil {
		return h.auth.User(ctx, cliCaller, id)
	}
	number, err := auth.CleanPhone(who)
	if err != nil {
		return h.auth.UserByEmail(ctx, cliCaller, who)
	}
	return h.auth.UserByPhone(ctx, cliCaller, number)
}

// spoken puts refusals of the core into words for a terminal.
func spoken(err error) error {
	var e *auth.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case auth.EmailInvalid:
		return errors.New("that is not an e-mail address, nor a number with its country code")
	case auth.EmailTaken:
		return errors.New("a user with that address exists already")
	case auth.PhoneTaken:
		return errors.New("a user with that number exists already")
	case auth.WeakPassword:
		return tooWeak(e)
	case auth.PasswordTooLong:
		return errors.New("the password is longer than 1,024 bytes")
	}
	return err
}

// tooWeak says what a password lacks.
func tooWeak(e *auth.Error) error {
	reasons, _ := e.Params["reasons"].([]string)
	if slices.Equal(reasons, []string{"pwned"}) {
		return errors.New("the password is too weak: it is known to be stolen, or among those that everybody tries first")
	}
	return fmt.Errorf("the password is too weak: it needs at least %v characters, one of each set of GATEHOUSE_PASSWORD_REQUIRED_CHARACTERS, and what GATEHOUSE_PASSWORD_STRENGTH asks for", e.Params["min"])
}

type userAddCmd struct {
	User          string `arg:"" help:"Address or number of the user."`
	Password      string `help:"Password; visible to others on this machine while the command runs." xor:"pw"`
	PasswordStdin bool   `help:"Read the password from the first line of standard input." xor:"pw"`
	Role          string `help:"Role of the user; empty: the default."`
	JSON          bool   `help:"As JSON." name:"json"`
}

// Run adds a user. Without a password they get in by recovery.
func (c userAddCmd) Run(ctx context.Context, e env) error {
	if c.PasswordStdin {
		line, err := bufio.NewReader(e.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		c.Password = strings.TrimRight(line, "\r\n")
		if c.Password == "" {
			return errors.New("standard input holds no password")
		}
	}
	return inHouse(ctx, e, true, func(h *house) error {
		yes := true
		ch := auth.UserChanges{Password: &c.Password, Role: &c.Role}
		if number, err := auth.CleanPhone(c.User); err == nil {
			ch.Phone, ch.PhoneConfirmed = &number, &yes
		} else {
			ch.Email, ch.EmailConfirmed = &c.User, &yes
		}
		u, err := h.auth.AddUser(ctx, cliCaller, ch)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(e.out, outOf(u))
		}
		_, err = fmt.Fprintf(e.out, "Added %s (%s).\n", whose(u), u.ID)
		return err
	})
}

type userShowCmd struct {
	User string `arg:"" help:"Address, number or id."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run shows a user and their newest events.
func (c userShowCmd) Run(ctx context.Context, e env) error {
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		events, err := h.auth.EventsOf(ctx, cliCaller, u.ID, 20)
		if err != nil {
			return err
		}
		o := outOf(u)
		for _, ev := range events {
			o.Events = append(o.Events, eventOut{At: ev.CreatedAt, Name: ev.Name, Actor: ev.Actor, IP: ev.IP, Data: ev.Data})
		}
		if c.JSON {
			return printJSON(e.out, o)
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintf(t, "id\t%s\nemail\t%s\nphone\t%s\nrole\t%s\nconfirmed\t%v\nbanned\t%s\nlast sign-in\t%s\ncreated\t%s\nuser metadata\t%s\napp metadata\t%s\n",
			o.ID, addressOf(o), or(o.Phone, "-"), o.Role, o.Confirmed, banned(o.BannedUntil, h.db.Now()), when(o.LastSignInAt), when(o.CreatedAt), o.UserMetadata, o.AppMetadata)
		for _, ev := range o.Events {
			fmt.Fprintf(t, "%s\t%s by %s %s\n", when(ev.At), ev.Name, ev.Actor, ev.IP)
		}
		return t.Flush()
	})
}

type userListCmd struct {
	Filter string `help:"Part of the address, the number or the name."`
	Page   int    `help:"Page, from 1." default:"1"`
	Size   int    `help:"Users on a page." default:"50"`
	JSON   bool   `help:"As JSON." name:"json"`
}

// Run lists a page of users.
func (c userListCmd) Run(ctx context.Context, e env) error {
	if c.Page < 1 || c.Size < 1 || c.Size > 1000 {
		return errors.New("--page counts from 1, --size from 1 to 1000")
	}
	return withHouse(ctx, e, func(h *house) error {
		page, total, err := h.auth.Users(ctx, cliCaller, auth.UserFilter{Contains: c.Filter, Offset: (c.Page - 1) * c.Size, Limit: c.Size})
		if err != nil {
			return err
		}
		rows := make([]userOut, 0, len(page))
		for i := range page {
			rows = append(rows, outOf(&page[i]))
		}
		if c.JSON {
			return printJSON(e.out, map[string]any{"users": rows, "total": total})
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tEMAIL\tPHONE\tROLE\tCONFIRMED\tBANNED\tLAST SIGN-IN")
		for _, u := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\t%s\t%s\n", u.ID, addressOf(u), or(u.Phone, "-"), u.Role, u.Confirmed, banned(u.BannedUntil, h.db.Now()), when(u.LastSignInAt))
		}
		fmt.Fprintf(t, "%d of %d\n", len(rows), total)
		return t.Flush()
	})
}

type userBanCmd struct {
	User string         `arg:"" help:"Address, number or id."`
	For  *time.Duration `help:"How long; without it for good." xor:"ban"` // a default would count as given beside --lift
	Lift bool           `help:"Lift the ban." xor:"ban"`
}

// forGood is a hundred years.
const forGood = 876000 * time.Hour

// Run bans a user; their sessions end at once.
func (c userBanCmd) Run(ctx context.Context, e env) error {
	span := forGood
	switch {
	case c.Lift:
		span = 0
	case c.For != nil && *c.For <= 0:
		return errors.New("--for must be longer than nothing; --lift lifts a ban")
	case c.For != nil:
		span = *c.For
	}
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		u, err := h.auth.SetUser(ctx, cliCaller, u.ID, auth.UserChanges{BanFor: &span})
		if err != nil {
			return err
		}
		if c.Lift {
			_, err = fmt.Fprintf(e.out, "%s is no longer banned.\n", whose(u))
		} else {
			_, err = fmt.Fprintf(e.out, "%s is banned until %s; all sessions have ended.\n", whose(u), when(u.BannedUntil))
		}
		return err
	})
}

type userDeleteCmd struct {
	User string `arg:"" help:"Address, number or id."`
	Soft bool   `help:"Keep an empty row, so that the id is never given out again."`
}

// Run deletes a user.
func (c userDeleteCmd) Run(ctx context.Context, e env) error {
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		err := h.auth.DropUser(ctx, cliCaller, u.ID, c.Soft)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "Deleted %s.\n", whose(u))
		return err
	})
}

type userPromoteCmd struct {
	User string `arg:"" help:"Address, number or id."`
	Undo bool   `help:"Make them an ordinary user again."`
}

// Run gives a user the administrators' role, which is looked up at every call:
// it counts at once.
func (c userPromoteCmd) Run(ctx context.Context, e env) error {
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		role := h.cfg.JWT.AdminGroup
		if c.Undo {
			role = h.cfg.JWT.DefaultGroup
		}
		u, err := h.auth.SetUser(ctx, cliCaller, u.ID, auth.UserChanges{Role: &role})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "%s now has the role %q.\n", whose(u), u.Role)
		return err
	})
}

type userSignOutCmd struct {
	User string `arg:"" optional:"" help:"Address, number or id."`
	All  bool   `help:"Everybody: after a backup was put back, or a break-in."`
}

// Run ends sessions, at once also for a running server.
func (c userSignOutCmd) Run(ctx context.Context, e env) error {
	if c.All == (c.User != "") {
		return errors.New("name a user, or --all")
	}
	if c.All {
		return withHouse(ctx, e, func(h *house) error {
			n, err := h.auth.SignOutAll(ctx, cliCaller)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "Ended %d sessions.\n", n)
			return err
		})
	}
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		n, err := h.auth.SignOutUser(ctx, cliCaller, u.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "Ended %d sessions of %s.\n", n, whose(u))
		return err
	})
}

// addressOf is what stands in place of an address where there is none.
func addressOf(u userOut) string {
	if u.IsAnonymous {
		return "(anonymous)"
	}
	return or(u.Email, "-")
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format(time.RFC3339)
}

func banned(until, now time.Time) string {
	if !until.After(now) {
		return "no"
	}
	return "until " + until.Format(time.RFC3339)
}

func or(s, unset string) string {
	if s == "" {
		return unset
	}
	return s
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
