package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Make the next signing key."`
	Rewrap keysRewrapCmd `cmd:"" help:"Seal the root keys under the master key of today, so that older ones are of no use any more."`
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

type keysRewrapCmd struct {
	Generate bool `help:"Only make a new master key in the data folder; the one of before becomes master.key.old."`
}

// Run seals every tenant's root key anew. Servers may run meanwhile if they know
// both keys: MASTER_KEY_OLD, or the file master.key.old, has the one of before.
func (c keysRewrapCmd) Run(ctx context.Context, e env) error {
	if c.Generate {
		err := nextMasterKey(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(e.out, "There is a new master key; the one of before is beside it as master.key.old. Restart every server, so that all know both, and then run gatehouse keys rewrap.")
		return err
	}
	return withHouse(ctx, e, func(h *house) error {
		n, err := h.vault.Rewrap(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "%d root keys were sealed anew, under master key %s. Once every server runs with it, take GATEHOUSE_MASTER_KEY_OLD or master.key.old away, and keep a backup of the new key.\n", n, h.vault.Master())
		return err
	})
}

// nextMasterKey puts a new key file in place of the one there is, which is kept
// beside it: at no instant is there neither.
func nextMasterKey(e env) error {
	base, err := load(e)
	if err != nil {
		return err
	}
	if base.Server.SealingKey() != nil {
		return errors.New("the master key comes from GATEHOUSE_MASTER_KEY: put the new one there, the one of before into GATEHOUSE_MASTER_KEY_OLD, and run gatehouse keys rewrap")
	}
	path := filepath.Join(under(e, base.Server.Data), "master.key")
	old := filepath.Join(under(e, base.Server.Data), oldMasterKey)
	_, err = readMasterKey(path)
	if err != nil {
		return err
	}
	_, err = os.Stat(old)
	if err == nil {
		return fmt.Errorf("%s is still there: run gatehouse keys rewrap, see that every server has the new key, and take it away first", old)
	}
	err = os.Link(path, old)
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	next := path + ".next"
	err = newMasterKey(next)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	return nil
}
