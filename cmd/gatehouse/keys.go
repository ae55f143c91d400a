package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Make the next signing key."`
	Issue  keysIssueCmd  `cmd:"" help:"Print a token of a role for a server of yours, such as service_role."`
}

type keysListCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

type keyRow struct {
	ID    string    `json:"kid"`
	Alg   string    `json:"alg"`
	State string    `json:"state"` // next, signing, verifying
	From  time.Time `json:"signs_from,omitzero"`
}

// Run lists the ring: which key signs, which only verify.
func (c keysListCmd) Run(ctx context.Context, e env) (err error) {
	h, err := openHouse(ctx, e, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.db.Close()) }()
	return c.list(e, h)
}

func (c keysListCmd) list(e env, h *house) error {
	keys, signing := h.auth.Keys()
	now := h.db.Now()
	rows := make([]keyRow, 0, len(keys))
	for _, k := range keys {
		r := keyRow{ID: k.ID, Alg: k.Alg, State: "verifying", From: k.SignsAt}
		switch {
		case k.ID == signing && k.Signs():
			r.State = "signing"
		case k.SignsAt.After(now):
			r.State = "next"
		}
		rows = append(rows, r)
	}
	if c.JSON {
		return printJSON(e.out, rows)
	}
	t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "KID\tALG\tSTATE\tSIGNS FROM")
	for _, r := range rows {
		from := "configured"
		if !r.From.IsZero() {
			from = r.From.Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", or(r.ID, "(none)"), r.Alg, r.State, from)
	}
	return t.Flush()
}

type keysRotateCmd struct {
	Now bool `help:"For a key that leaked: the new key signs at once, and every token of an older key is refused. Sessions live on and refresh. Verifiers that keep a copy of the key set refuse the new tokens until they fetch it again."`
}

// Run makes the next key.
func (c keysRotateCmd) Run(ctx context.Context, e env) (err error) {
	h, err := openHouse(ctx, e, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.db.Close()) }()
	err = h.auth.RotateKeys(ctx, auth.Caller{Actor: "cli"}, c.Now)
	if err != nil {
		return err
	}
	return keysListCmd{}.list(e, h)
}

type keysIssueCmd struct {
	Role string        `help:"Role of the token." default:"service_role"`
	For  time.Duration `help:"How long it is valid." default:"1h"`
}

// Run prints a token that names a role and no user.
func (c keysIssueCmd) Run(ctx context.Context, e env) (err error) {
	h, err := openHouse(ctx, e, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.db.Close()) }()
	if c.For <= 0 {
		return errors.New("--for must be longer than nothing")
	}
	tok, err := h.auth.ServiceToken(c.Role, c.For)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.out, tok)
	return err
}
