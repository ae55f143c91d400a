package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/store"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Read the audit trail and tell whether anything in it was changed, removed, moved or put in."`
	Export auditExportCmd `cmd:"" help:"Print the audit trail with its signatures, for those outside the house."`
}

// sealer puts events into the audit trail, and tells those who want to hear;
// told, unless nil, is called when something waits for them.
func (h *house) sealer(told func()) *audit.Sealer {
	return audit.NewSealer(audit.Options{DB: h.db, Root: h.vault.Root, After: (*store.Tx).FanOut, Told: told, Log: h.log})
}

// sealWaiting puts the events of offline verbs into the trail, and whatever else
// waits, unless a server is at it.
func (h *house) sealWaiting(ctx context.Context) error {
	s := h.sealer(nil)
	err := s.SealNow(ctx)
	if errors.Is(err, audit.ErrBroken) { // which whoever reads the trail is about to hear
		err = nil
	}
	return errors.Join(err, s.Release(ctx))
}

// auditKey is what a tenant's trail is sealed with; of one that does not live
// there is none, which is store.ErrNotFound.
func (h *house) auditKey(ctx context.Context, t store.TenantID) (*audit.Key, error) {
	root, err := h.vault.Root(ctx, t)
	if err != nil {
		return nil, err
	}
	return audit.NewKey(root, t), nil
}

// trails calls f for the tenant at hand, or for all. What fails of one keeps
// nobody from hearing of the others.
func (h *house) trails(ctx context.Context, all bool, f func(name string, key *audit.Key) error) error {
	if !all {
		key, err := h.auditKey(ctx, h.tenant.ID)
		if err != nil {
			return err
		}
		return f(h.tenant.Name, key)
	}
	var failed error
	for after := ""; ; {
		var list []store.Tenant
		err := h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			list, err = tx.TenantPage(after, bite)
			return err
		})
		if err != nil || len(list) == 0 {
			return errors.Join(failed, err)
		}
		for _, t := range list {
			key, err := h.auditKey(ctx, t.ID)
			if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
				continue
			}
			if err == nil {
				err = f(t.Name, key)
			}
			failed = errors.Join(failed, err)
		}
		after = list[len(list)-1].Name
	}
}

type auditVerifyCmd struct {
	All        bool   `help:"Every tenant's."`
	Checkpoint string `help:"A checkpoint that was kept elsewhere: an earlier export, or lines of it. Shows a whole database that is an older copy." placeholder:"FILE" type:"path"`
	File       string `help:"Read this export in place of the database; - reads standard input. Needs neither the database nor a key." placeholder:"EXPORT"`
	Key        string `help:"With --file: the house's public key, as gatehouse audit verify prints it. Without it the one the export names is believed." placeholder:"BASE64"`
	JSON       bool   `help:"As JSON." name:"json"`
}

// trailOut is what was found of one trail.
type trailOut struct {
	Tenant      string      `json:"tenant"`
	Name        string      `json:"name,omitempty"`
	Rows        int64       `json:"rows"`
	Last        int64       `json:"last"`
	Pruned      int64       `json:"pruned"`
	Began       time.Time   `json:"began,omitzero"`
	Checkpoints int         `json:"checkpoints"`
	KeyID       string      `json:"key_id"`
	PublicKey   string      `json:"public_key,omitempty"`
	Unchecked   string      `json:"unchecked,omitempty"`
	Faults      []faultJSON `json:"faults"`
}

type faultJSON struct {
	Kind string `json:"kind"`
	Row  int64  `json:"row,omitempty"`
	What string `json:"what"`
}

func trailOf(name string, r *audit.Report) trailOut {
	o := trailOut{
		Tenant: r.Tenant.String(), Name: name, Rows: r.Rows, Last: r.Last, Pruned: r.Pruned, Began: r.Began, Checkpoints: r.Checkpoints,
		KeyID: r.KeyID, PublicKey: base64.StdEncoding.EncodeToString(r.Public), Unchecked: r.Unchecked, Faults: []faultJSON{},
	}
	for _, f := range r.Faults {
		o.Faults = append(o.Faults, faultJSON{string(f.Kind), f.Seq, f.What})
	}
	return o
}

// Run verifies; that something is wrong is an error.
func (c auditVerifyCmd) Run(ctx context.Context, e env) error {
	if c.File != "" {
		return c.file(e)
	}
	if c.Key != "" {
		return errors.New("--key goes with --file")
	}
	if c.All && e.tenant != "" {
		return errors.New("--all and --tenant are two things")
	}
	return withHouse(ctx, e, func(h *house) error {
		err := h.sealWaiting(ctx)
		if err != nil {
			return err
		}
		var bad error
		var found []trailOut
		err = h.trails(ctx, c.All, func(name string, key *audit.Key) error {
			given, err := c.given(e, name, key.Tenant)
			if err != nil {
				return err
			}
			r, err := audit.Verify(ctx, h.db, key, given)
			if err != nil {
				return err
			}
			bad = errors.Join(bad, broken(name, r))
			found = append(found, trailOf(name, r))
			return nil
		})
		return errors.Join(err, c.print(e, found), bad)
	})
}

// given is the tenant's checkpoint in the file that was kept, or nil.
func (c auditVerifyCmd) given(e env, name string, t store.TenantID) (*store.Checkpoint, error) {
	if c.Checkpoint == "" {
		return nil, nil
	}
	f, err := os.Open(under(e, c.Checkpoint))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := audit.ReadCheckpoint(f, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Checkpoint, err)
	}
	if p == nil && !c.All {
		return nil, fmt.Errorf("%s has no checkpoint of tenant %s", c.Checkpoint, name)
	}
	return p, nil
}

func broken(name string, r *audit.Report) error {
	if r.Err() == nil {
		return nil
	}
	return fmt.Errorf("the audit trail of %s is not what was sealed: %w", name, r.Err())
}

// file verifies an export.
func (c auditVerifyCmd) file(e env) error {
	if c.Checkpoint != "" || c.All || e.tenant != "" {
		return errors.New("with --file all that is in the file is read; leave --all, --tenant and --checkpoint out")
	}
	var public ed25519.PublicKey
	if c.Key != "" {
		var err error
		public, err = audit.ParsePublicKey(c.Key)
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
	}
	in := e.in
	if c.File != "-" {
		f, err := os.Open(under(e, c.File))
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	reports, err := audit.VerifyExport(in, public)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	var bad error
	found := make([]trailOut, 0, len(reports))
	for _, r := range reports {
		bad = errors.Join(bad, broken("tenant "+r.Tenant.String(), r))
		found = append(found, trailOf("", r))
	}
	return errors.Join(c.print(e, found), bad)
}

func (c auditVerifyCmd) print(e env, found []trailOut) error {
	if c.JSON {
		return printJSON(e.out, found)
	}
	out := bufio.NewWriter(e.out)
	for _, o := range found {
		verdict := "nothing was changed"
		switch {
		case len(o.Faults) > 0:
			verdict = "NOT what was sealed"
		case o.Last == 0:
			verdict = "there is no trail yet"
		}
		fmt.Fprintf(out, "%s: %s; %d rows up to row %d, %d checkpoints", or(o.Name, o.Tenant), verdict, o.Rows, o.Last, o.Checkpoints)
		if o.Pruned > 0 {
			fmt.Fprintf(out, ", swept for their age up to row %d", o.Pruned)
		}
		if !o.Began.IsZero() {
			fmt.Fprintf(out, ", kept since %s", when(o.Began))
		}
		fmt.Fprintf(out, "; key %s %s\n", o.KeyID, o.PublicKey)
		for _, f := range o.Faults {
			fmt.Fprintf(out, "  %s: %s\n", f.Kind, f.What)
		}
		if o.Unchecked != "" {
			fmt.Fprintf(out, "  not compared: %s\n", o.Unchecked)
		}
	}
	return out.Flush()
}

type auditExportCmd struct {
	All    bool   `help:"Every tenant's."`
	Since  string `help:"From then on: an instant such as 2026-01-31T00:00:00Z, a day such as 2026-01-31, or an age such as 720h."`
	Format string `help:"jsonl: one JSON object a line." enum:"jsonl" default:"jsonl"`
}

// Run prints the trail. It ends with a checkpoint made now: keep it elsewhere.
func (c auditExportCmd) Run(ctx context.Context, e env) error {
	if c.All && e.tenant != "" {
		return errors.New("--all and --tenant are two things")
	}
	return withHouse(ctx, e, func(h *house) error {
		since, err := instantOf(c.Since, h.db.Now())
		if err == nil {
			err = h.sealWaiting(ctx)
		}
		if err != nil {
			return err
		}
		return h.trails(ctx, c.All, func(name string, key *audit.Key) error {
			err := audit.Export(ctx, h.db, key, e.out, since)
			if err != nil {
				return fmt.Errorf("tenant %s: %w", name, err)
			}
			return nil
		})
	})
}

// instantOf reads an instant, a day or an age.
func instantOf(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		at, err := time.Parse(layout, s)
		if err == nil {
			return at, nil
		}
	}
	age, err := time.ParseDuration(s)
	if err != nil || age < 0 {
		return time.Time{}, errors.New("--since takes an instant such as 2026-01-31T00:00:00Z, a day such as 2026-01-31, or an age such as 720h")
	}
	return now.Add(-age), nil
}
