package outbox

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/store"
)

// drop takes a delivery away that is done, and reports whether it was still
// ours.
func (w *Worker) drop(log *slog.Logger, d store.Delivery) bool {
	return w.end(log, d, func(tx *store.Tx) (bool, error) { return tx.DropDelivery(d) })
}

// end writes down the end of a delivery, unless it is another worker's by now.
func (w *Worker) end(log *slog.Logger, d store.Delivery, fn func(*store.Tx) (bool, error)) bool {
	held := false
	err := w.write(log, d, func(tx *store.Tx) (err error) {
		held, err = fn(tx)
		return err
	})
	if err == nil && !held {
		log.Warn("outbox: the lease ran out while sending; another worker may send it again")
	}
	return err == nil && held
}

// putBack makes a delivery due again after wait.
func (w *Worker) putBack(log *slog.Logger, d store.Delivery, wait time.Duration, why error) {
	log.Warn("outbox: not sent; it will be tried again", "in", wait.Round(time.Second).String(), "err", why)
	_ = w.write(log, d, func(tx *store.Tx) error { return tx.PutBackDelivery(d, tx.Now.Add(wait), why.Error()) })
}

// bury gives a delivery up and keeps it, without its body, for an operator. It
// reports whether it was still ours.
func (w *Worker) bury(log *slog.Logger, d store.Delivery, why error) bool {
	log.Error("outbox: given up", "err", why)
	return w.end(log, d, func(tx *store.Tx) (bool, error) { return tx.BuryDelivery(d, why.Error()) })
}

// write is not ended by the end of Run: what was sent must be written down. If
// it fails, the delivery is sent again when its lease has run out.
func (w *Worker) write(log *slog.Logger, d store.Delivery, fn func(*store.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), bookLimit)
	defer cancel()
	err := w.opt.DB.Write(ctx, d.Tenant, fn)
	if err != nil {
		log.Error("outbox: what became of the delivery could not be written; it will be tried again", "err", err)
	}
	return err
}

// maxReason bounds the text of a failure in bytes.
const maxReason = 500

// scrub returns err as it may be kept and logged. Mail servers quote what they
// refuse (the address, a link with its secret in it), so words that are or
// hold such a thing are left out.
func scrub(err error, secrets []string) error {
	var inside, whole []string // what no word may contain, or be
	for _, s := range secrets {
		if s != "" {
			s = strings.ToLower(s)
			local, _, _ := strings.Cut(s, "@")
			inside, whole = append(inside, s), append(whole, strings.Fields(local)...)
		}
	}
	words := strings.Fields(strings.ToValidUTF8(err.Error(), "?"))
	for i, word := range words {
		low := strings.ToLower(word)
		holds := func(s string) bool { return strings.Contains(low, s) }
		switch {
		case strings.Contains(word, "@"):
			words[i] = "[address]"
		case strings.Contains(word, "://"):
			words[i] = "[link]"
		case slices.ContainsFunc(inside, holds), slices.Contains(whole, strings.Trim(low, `"'<>()[],;:.`)), longest(word) >= 32:
			words[i] = "[hidden]"
		}
	}
	text := strings.Join(words, " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + " …"
	}
	return errors.New(text)
}

// longest returns the length of the longest run of letters, digits, "-" and
// "_" in s: what random tokens are made of.
func longest(s string) (n int) {
	for _, run := range strings.FieldsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		n = max(n, len(run))
	}
	return n
}
