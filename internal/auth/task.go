package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// task is what a request leaves to be done once its answer is out. Whether
// anybody is known by an address decides only here what is done, so that
// neither the answer nor the time it takes can tell.
type task struct {
	Op     taskOp          `json:"op"`
	To     Contact         `json:"to"`
	Create bool            `json:"create,omitempty"`
	Meta   json.RawMessage `json:"meta,omitempty"`
	Flow   leftFlow        `json:"flow"`
	IP     string          `json:"ip"`
	Agent  string          `json:"agent"`
	ReqID  string          `json:"request_id"`
	Langs  string          `json:"accept_language,omitempty"`
}

// taskOp names a task.
type taskOp string

// The tasks.
const (
	taskRecover      taskOp = "recover"
	taskMagicLink    taskOp = "magic_link"
	taskConfirmAgain taskOp = "confirm_again"
	taskChangeAgain  taskOp = "change_again"
)

// leftFlow is a Flow that can wait in a row: its links are made beforehand,
// with a mark where the secret goes.
type leftFlow struct {
	RedirectTo string             `json:"redirect_to"`
	PKCE       PKCE               `json:"pkce,omitzero"`
	Netlify    bool               `json:"netlify,omitempty"`
	Channel    string             `json:"channel,omitempty"`
	Mark       string             `json:"mark,omitempty"`
	Links      map[Kind][2]string `json:"links,omitempty"`
}

// leave makes the links of the kinds a task may mail.
func (f Flow) leave(kinds ...Kind) leftFlow {
	l := leftFlow{RedirectTo: f.RedirectTo, PKCE: f.PKCE, Netlify: f.Netlify, Channel: f.Channel}
	if f.Links == nil {
		return l
	}
	l.Mark, l.Links = secret.Token(), map[Kind][2]string{} // a mark no target of a redirect can hold
	for _, k := range kinds {
		server, client := f.Links(k, l.Mark, f.RedirectTo)
		l.Links[k] = [2]string{server, client}
	}
	return l
}

// flow takes up what leave left.
func (l leftFlow) flow() Flow {
	f := Flow{RedirectTo: l.RedirectTo, PKCE: l.PKCE, Netlify: l.Netlify, Channel: l.Channel}
	if l.Links != nil {
		f.Links = func(k Kind, token, _ string) (server, client string) {
			links := l.Links[k]
			return strings.ReplaceAll(links[0], l.Mark, token), strings.ReplaceAll(links[1], l.Mark, token)
		}
	}
	return f
}

// later leaves a task, after the pace that holds for everybody's address.
//
// Codes: TooSoon, SMSTooSoon, SMSRefused, EmailNotAuthorized.
func (s *Service) later(ctx context.Context, c Caller, pace string, t task) error {
	t.IP, t.Agent, t.ReqID, t.Langs = c.IP, cut(c.Agent, 255), c.RequestID, c.AcceptLanguage
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("auth: task: %w", err)
	}
	var refused error
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		refused, err = refusal(s.pace(tx, c, pace, t.To))
		if err != nil || refused != nil {
			return err // a refusal by the budget is told of, and kept
		}
		id := store.NewDeliveryID()
		return tx.AddDelivery(store.Delivery{
			ID: id, Kind: store.DeliverTask, Body: s.root.Seal(store.DeliverySeal, id[:], body), ExpiresAt: tx.Now.Add(s.taskTTL(t.To)),
		})
	})
	if err == nil {
		err = refused
	}
	if err == nil {
		s.wake()
	}
	return err
}

// draftOf is the user a task would make, where it makes one.
func (s *Service) draftOf(ctx context.Context, c Caller, t task) (User, error) {
	if t.Op != taskMagicLink || !t.Create || s.policy.SignupDisabled {
		return User{}, nil
	}
	if s.hooks.BeforeUser != nil {
		known := false
		err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
			known, err = taken(tx, t.To)
			return err
		})
		if err != nil || known {
			return s.plainDraft(t), err
		}
		return s.draft(ctx, c, t.To, t.Meta)
	}
	return s.plainDraft(t), nil
}

func (s *Service) plainDraft(t task) User {
	u := s.newUser(t.To)
	if t.Meta != nil {
		u.UserMetadata = t.Meta
	}
	return u
}

// taskTTL is how long somebody waits for a message they asked for.
func (s *Service) taskTTL(to Contact) time.Duration {
	if to.Phone != "" {
		return s.policy.SMSCodeTTL
	}
	return s.policy.LinkTTL
}

// Work does what a request left to be done. done is part of its transaction, and
// marks it as done. What it refuses is done with, too: the one who asked has
// their answer.
//
// Events: SignedUp, RecoveryAsked, CodeAsked.
func (s *Service) Work(ctx context.Context, body []byte, done func(*store.Tx) error) error {
	var t task
	err := json.Unmarshal(body, &t)
	if err != nil {
		return errors.New("auth: the body is not a task")
	}
	c := Caller{IP: t.IP, Agent: t.Agent, RequestID: t.ReqID, AcceptLanguage: t.Langs}
	draft, err := s.draftOf(ctx, c, t)
	refused, err := refusal(err)
	if err != nil {
		return err
	}
	do := func(tx *store.Tx) error {
		if refused != nil {
			return refused
		}
		err := done(tx)
		if err != nil {
			return err
		}
		u, err := t.To.user(tx)
		unknown := errors.Is(err, store.ErrNotFound)
		if err != nil && !unknown {
			return err
		}
		if !unknown && u.SSO {
			return s.unsent(tx, t.To) // whoever has left the company reads old mail, too
		}
		if t.Op == taskMagicLink {
			return s.magicLink(tx, c, t, u, draft, unknown)
		}
		if unknown {
			return s.unsent(tx, t.To)
		}
		switch t.Op {
		case taskRecover:
			return s.recover(tx, c, t, &u)
		case taskConfirmAgain:
			return s.confirmAgain(tx, c, t, &u)
		case taskChangeAgain:
			return s.changeAgain(tx, c, t, &u)
		}
		return fmt.Errorf("auth: no task %q", t.Op)
	}
	err = s.db.Write(ctx, s.tenant, do)
	if errors.Is(err, store.ErrDuplicate) { // made between our read and our write, on another node
		err = s.db.Write(ctx, s.tenant, do)
	}
	refused, err = refusal(err)
	if refused != nil {
		s.warn(c, "a request for a message came to nothing", "op", t.Op, "err", refused)
		err = s.db.Write(ctx, s.tenant, done)
	}
	if err == nil {
		s.wake()
	}
	return err
}
