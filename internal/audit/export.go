package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/internal/store"
)

// format names the lines of an export.
const format = "gatehouse audit 1"

// maxLine bounds a line of an export that is read, in bytes.
const maxLine = 16 << 20

// The kinds of lines, beside those of checkpoints.
const (
	trailLine = "trail" // a tenant's rows begin: behind which row, and the public key
	eventLine = "event" // a row with its event
)

// line is a line of an export. Hashes are hexadecimal, the key and signatures
// base64 (RFC 4648 §4), data the text that was hashed.
type line struct {
	Kind   string `json:"kind"`
	Format string `json:"format,omitempty"`
	Tenant string `json:"tenant,omitempty"`
	Seq    int64  `json:"seq"`

	// Of an event.
	ID        string    `json:"id,omitempty"`
	Name      string    `json:"name,omitempty"`
	Actor     string    `json:"actor,omitempty"`
	UserID    string    `json:"user_id,omitempty"`
	SessionID string    `json:"session_id,omitempty"`
	IP        string    `json:"ip,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	Data      string    `json:"data,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	Gone      bool      `json:"gone,omitempty"` // removed before it was sealed
	Digest    string    `json:"digest,omitempty"`

	Hash string `json:"hash,omitempty"`

	// Of a checkpoint.
	MadeAt    time.Time `json:"made_at,omitzero"`
	KeyID     string    `json:"key_id,omitempty"`
	Signature string    `json:"signature,omitempty"`

	PublicKey string `json:"public_key,omitempty"` // of a trail
}

func checkpointLine(t store.TenantID, c *store.Checkpoint) line {
	return line{
		Kind: c.Kind, Tenant: t.String(), Seq: c.Seq, Hash: hex.EncodeToString(c.Hash), MadeAt: c.MadeAt, KeyID: c.KeyID,
		Signature: base64.StdEncoding.EncodeToString(c.Signature),
	}
}

func rowLine(r store.TrailRow) line {
	l := line{Kind: eventLine, Seq: r.Seq, ID: r.ID.String(), Digest: hex.EncodeToString(r.Digest), Hash: hex.EncodeToString(r.Hash), Gone: r.Event == nil}
	if e := r.Event; e != nil {
		l.Name, l.Actor, l.UserID, l.SessionID = e.Name, e.Actor, e.UserID.String(), e.SessionID.String()
		l.IP, l.RequestID, l.Data, l.CreatedAt = e.IP, e.RequestID, string(e.Data), e.CreatedAt
	}
	return l
}

// Export writes a tenant's trail as JSON lines, from a little before an instant
// on: the hash its rows follow and the public key, the rows with their events
// and the checkpoints beside them, and at last a checkpoint, made now, of the
// last row. What does not follow is not signed: then the error is ErrBroken.
func Export(ctx context.Context, db *store.DB, key *Key, w io.Writer, since time.Time) error {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	var head store.AuditHead
	var at store.TrailRow // behind which the export begins
	err := db.Read(ctx, key.Tenant, func(tx *store.Tx) (err error) {
		head, err = tx.Head()
		if err != nil {
			return err
		}
		at = store.TrailRow{}
		if !since.IsZero() {
			at, err = tx.TrailSince(since)
		}
		if err == nil && at.Seq == 0 {
			at.Seq, at.Hash, err = key.anchor(tx)
		}
		return err
	})
	empty := errors.Is(err, store.ErrNotFound)
	if empty {
		at, err = store.TrailRow{Hash: Start(key.Tenant)}, nil
	}
	if err == nil && !empty && !key.sealed(&head) {
		err = fmt.Errorf("%w: its end is not what was sealed", ErrBroken)
	}
	if err == nil {
		err = lines.Encode(line{
			Kind: trailLine, Format: format, Tenant: key.Tenant.String(), Seq: at.Seq, Hash: hex.EncodeToString(at.Hash),
			KeyID: key.ID, PublicKey: base64.StdEncoding.EncodeToString(key.Public()),
		})
	}
	if err != nil || empty {
		return errors.Join(err, out.Flush())
	}
	err = exportRows(ctx, db, key, lines, &at, head.Seq)
	if err == nil && !bytes.Equal(at.Hash, head.Hash) {
		err = fmt.Errorf("%w: row %d is not the one that was sealed last", ErrBroken, at.Seq)
	}
	if err == nil {
		c := store.Checkpoint{Seq: at.Seq, Kind: store.CheckpointRow, Hash: at.Hash, MadeAt: db.Now()}
		key.Sign(&c)
		err = lines.Encode(checkpointLine(key.Tenant, &c))
	}
	return errors.Join(err, out.Flush())
}

// exportRows writes the rows behind one up to another, and moves to the last.
func exportRows(ctx context.Context, db *store.DB, key *Key, lines *json.Encoder, at *store.TrailRow, to int64) error {
	for at.Seq < to {
		var rows []store.TrailRow
		var points []store.Checkpoint
		err := db.Read(ctx, key.Tenant, func(tx *store.Tx) (err error) {
			rows, err = tx.TrailPage(at.Seq, int(min(page, to-at.Seq)))
			if err == nil {
				points, err = tx.Checkpoints(at.Seq, at.Seq+int64(len(rows)), 3*page+3)
			}
			return err
		})
		if err == nil && len(rows) == 0 {
			err = fmt.Errorf("%w: the rows behind row %d are missing", ErrBroken, at.Seq)
		}
		if err != nil {
			return err
		}
		for _, r := range rows {
			if !follows(at.Seq, at.Hash, r) || !bytes.Equal(r.Digest, digestOf(key.Tenant, r)) {
				return fmt.Errorf("%w: row %d is not what was sealed", ErrBroken, r.Seq)
			}
			for len(points) > 0 && points[0].Seq < r.Seq {
				err = lines.Encode(checkpointLine(key.Tenant, &points[0]))
				if err != nil {
					return err
				}
				points = points[1:]
			}
			err = lines.Encode(rowLine(r))
			if err != nil {
				return err
			}
			*at = r
		}
	}
	return nil
}

// exported reads an export line by line.
type exported struct {
	scan *bufio.Scanner
	n    int
}

func readExport(r io.Reader) *exported {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	return &exported{scan: s}
}

// next returns the next line, or io.EOF.
func (e *exported) next() (l line, err error) {
	for e.scan.Scan() {
		e.n++
		text := bytes.TrimSpace(e.scan.Bytes())
		if len(text) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields() // a field that is not hashed would be believed
		err = d.Decode(&l)
		if err != nil {
			return l, fmt.Errorf("line %d: %w", e.n, err)
		}
		return l, nil
	}
	if e.scan.Err() != nil {
		return l, fmt.Errorf("line %d: %w", e.n+1, e.scan.Err())
	}
	return l, io.EOF
}

func (l line) checkpoint() (c store.Checkpoint, err error) {
	c = store.Checkpoint{Seq: l.Seq, Kind: l.Kind, MadeAt: l.MadeAt, KeyID: l.KeyID}
	c.Hash, err = hex.DecodeString(l.Hash)
	if err == nil {
		c.Signature, err = base64.StdEncoding.DecodeString(l.Signature)
	}
	return c, err
}

func (l line) row() (r store.TrailRow, err error) {
	var errs [6]error
	r.Seq = l.Seq
	r.ID, errs[0] = store.ParseEventID(l.ID)
	r.Digest, errs[1] = hex.DecodeString(l.Digest)
	r.Hash, errs[2] = hex.DecodeString(l.Hash)
	if !l.Gone {
		e := store.Event{ID: r.ID, Name: l.Name, Actor: l.Actor, IP: l.IP, RequestID: l.RequestID, Data: []byte(l.Data), CreatedAt: l.CreatedAt}
		e.UserID, errs[3] = store.ParseUserID(l.UserID)
		e.SessionID, errs[4] = store.ParseSessionID(l.SessionID)
		r.Event = &e
	}
	return r, errors.Join(errs[:]...)
}

// VerifyExport reads an export and reports on each trail in it. It needs no
// database and no root key: what is signed is held against public, or, where
// that is nil, against the key that the export itself names, which whoever
// reads the report must know to be the house's.
func VerifyExport(r io.Reader, public ed25519.PublicKey) (reports []*Report, err error) {
	in := readExport(r)
	var c *chain
	covered := int64(-1) // the last row that a checkpoint is of
	end := func() {
		if c == nil {
			return
		}
		c.Last = c.seq
		if c.Rows > 0 && covered < c.seq {
			c.fault(WrongEnd, covered+1, "the rows behind row %d are under no signature: the export is cut off", max(covered, 0))
		}
	}
	for {
		l, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if c == nil && l.Kind != trailLine {
			return nil, errors.New("this is not an export of an audit trail")
		}
		switch l.Kind {
		case trailLine:
			end()
			covered = -1
			c, err = l.chain(public)
			if err == nil {
				reports = append(reports, c.Report)
			}
		case eventLine:
			var row store.TrailRow
			row, err = l.row()
			if err == nil {
				c.row(row)
			}
		default:
			var p store.Checkpoint
			p, err = l.checkpoint()
			if err == nil && c.statement(&p) && p.Kind != store.CheckpointBegin {
				c.Checkpoints++
				if p.Seq == c.seq {
					c.says(&p, c.hash)
					covered = p.Seq
				}
			}
			if p.Kind == store.CheckpointBegin {
				c.Began = p.MadeAt
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", in.n, err)
		}
	}
	if c == nil {
		return nil, errors.New("this is not an export of an audit trail")
	}
	end()
	return reports, nil
}

// chain begins a trail.
func (l line) chain(public ed25519.PublicKey) (*chain, error) {
	if l.Format != format {
		return nil, fmt.Errorf("the format is %q, and this program reads %q", l.Format, format)
	}
	t, err := store.ParseTenantID(l.Tenant)
	if err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(l.Hash)
	if err != nil {
		return nil, err
	}
	if public == nil {
		public, err = ParsePublicKey(l.PublicKey)
		if err != nil {
			return nil, err
		}
	}
	return &chain{Report: &Report{Tenant: t, KeyID: KeyID(public), Public: public}, seq: l.Seq, hash: hash}, nil
}

// ParsePublicKey reads the base64 form of a public key.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("a public key is 32 bytes as base64")
	}
	return b, nil
}

// ReadCheckpoint returns the checkpoint of a tenant's latest row in an export,
// or in the lines of one that were kept; nil when there is none.
func ReadCheckpoint(r io.Reader, t store.TenantID) (found *store.Checkpoint, err error) {
	in := readExport(r)
	for {
		l, err := in.next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if l.Kind != store.CheckpointRow || l.Tenant != t.String() || found != nil && l.Seq < found.Seq {
			continue
		}
		c, err := l.checkpoint()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", in.n, err)
		}
		found = &c
	}
}
