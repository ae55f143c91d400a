package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/login"
	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// house is what serving and the offline verbs share: the database and the
// rules over it.
type house struct {
	cfg  *config.Config
	db   *store.DB
	root *secret.Root
	auth *auth.Service
	log  *slog.Logger

	out    *fetch.Client // every request of ours to elsewhere
	sender notify.Sender
	inbox  *notify.Inbox // nil: mail is really sent
	texts  *texts
}

// load reads the configuration; every fault is reported at once.
func load(e env) (*config.Config, error) {
	cfg, report := settings(e)
	for _, w := range report.Warnings {
		fmt.Fprintln(e.err, "warning:", w)
	}
	err := report.Err()
	if err != nil {
		return nil, fmt.Errorf("the configuration has faults:\n%w", err)
	}
	return cfg, nil
}

// openDB opens the database, and its folder if need be. Relative paths are
// the working folder's.
func openDB(ctx context.Context, e env, cfg *config.Config) (*store.DB, error) {
	err := os.MkdirAll(under(e, cfg.Server.Data), 0o700)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w; GATEHOUSE_DATA names it", err)
	}
	d := cfg.Database
	o := store.Options{
		URL: cfg.DatabaseURL(), Namespace: d.Namespace, Synchronous: d.Synchronous, Now: time.Now,
		MaxConns: d.MaxConns, MaxIdle: d.MaxIdle, ConnLifetime: d.ConnLifetime, ConnIdle: d.ConnIdle, HealthCheck: d.HealthCheck,
		StatementTimeout: d.StatementTimeout, LockTimeout: d.LockTimeout, TransactionTimeout: d.TransactionTimeout,
	}
	mend := "; GATEHOUSE_DATABASE_URL names the database"
	if d.Engine() == "sqlite" {
		o.URL = "sqlite:" + under(e, cfg.SQLiteFile())
		mend = "; GATEHOUSE_DATA names the folder of the database, GATEHOUSE_DATABASE_URL=sqlite:FILE another file"
	}
	db, err := store.Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, mend)
	}
	return db, nil
}

// under resolves a path of the configuration.
func under(e env, path string) string {
	if filepath.IsAbs(path) || e.dir == "." {
		return path
	}
	return filepath.Join(e.dir, path)
}

// openHouse is for the offline verbs. It migrates like serve does, but makes
// no database where there is none, unless create is set: a ban or a rotation
// typed in the wrong folder must not succeed on a house of its own.
func openHouse(ctx context.Context, e env, create bool) (*house, error) {
	cfg, err := load(e)
	if err != nil {
		return nil, err
	}
	if !create {
		err = exists(e, cfg)
		if err != nil {
			return nil, err
		}
	}
	db, err := openDB(ctx, e, cfg)
	if err != nil {
		return nil, err
	}
	h, err := build(ctx, e, cfg, db, nil, slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return h, nil
}

// exists refuses to go on where there is no database yet. Of a server's
// databases nobody makes one by mistake.
func exists(e env, cfg *config.Config) error {
	if cfg.Database.Engine() != "sqlite" {
		return nil
	}
	path, err := filepath.Abs(under(e, cfg.SQLiteFile()))
	if err != nil {
		return err
	}
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database at %s; GATEHOUSE_DATA names its folder", path)
	}
	return nil
}

// build makes the core over an open database.
func build(ctx context.Context, e env, cfg *config.Config, db *store.DB, wake func(), log *slog.Logger) (*house, error) {
	err := upToDate(ctx, cfg, db)
	if err != nil {
		return nil, err
	}
	begun, err := auth.Begun(ctx, db)
	if err != nil {
		return nil, err
	}
	root, err := rootKey(cfg.Server, under(e, cfg.Server.Data), begun)
	if err != nil {
		return nil, err
	}
	p := cfg.Password
	hasher, err := secret.NewHasher(
		secret.Params{MemoryKiB: uint32(p.HashMemory), Time: uint32(p.HashTime), Threads: 1},
		secret.NewPool(p.HashSlots, p.HashWait, time.Now))
	if err != nil {
		return nil, err
	}
	out := fetch.New(fetch.Options{AllowPrivate: cfg.Server.OutgoingAllowPrivate})
	sender, inbox, err := sender(cfg, log)
	if err != nil {
		return nil, err
	}
	keys, err := configuredKeys(cfg.JWT)
	if err != nil {
		return nil, err
	}
	checks, err := passwordChecks(e, cfg, out, log)
	if err != nil {
		return nil, err
	}
	data, err := dataSchema(e, cfg)
	if err != nil {
		return nil, err
	}
	texts, err := textMessages(cfg, out, inbox, log)
	if err != nil {
		return nil, err
	}
	svc := auth.New(auth.Options{
		DB: db, Root: root, Hasher: hasher, Policy: policy(cfg), Methods: login.All(), Texts: texts.core(), Checks: checks, Schema: data,
		UndoURL: undoURL(cfg), Keys: keys, Wake: wake, Log: log,
	})
	err = svc.CheckRoot(ctx)
	if err != nil {
		return nil, err
	}
	err = svc.LoadKeys(ctx)
	if err != nil {
		return nil, err
	}
	return &house{cfg: cfg, db: db, root: root, auth: svc, log: log, out: out, sender: sender, inbox: inbox, texts: texts}, nil
}

// upToDate migrates, or refuses a database that needs it.
func upToDate(ctx context.Context, cfg *config.Config, db *store.DB) error {
	if cfg.Database.Migrates() {
		_, err := db.Migrate(ctx)
		return err
	}
	all, err := db.Migrations(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.Applied {
			return fmt.Errorf("the database needs migration %s: run gatehouse migrate, or set GATEHOUSE_AUTO_MIGRATE=true", m.Name)
		}
	}
	return nil
}

// rootKey is the key everything sealed and every keyed hash hangs on: from the
// configuration, or from a file made at the first start, and never later.
func rootKey(cfg config.Server, data string, begun bool) (*secret.Root, error) {
	key := cfg.SealingKey()
	if key != nil {
		return secret.NewRoot(key)
	}
	path := filepath.Join(data, "master.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && begun {
		return nil, fmt.Errorf("master key: %s is missing, and the database was begun with it; put it back from your backup, or set GATEHOUSE_MASTER_KEY", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newRootKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("master key: %s is not base64 of 32 bytes; put the file back from your backup", path)
	}
	return secret.NewRoot(key)
}

// newRootKey writes a key that either is whole and on disk or does not exist:
// a half-written one would lock everybody out at the next start.
func newRootKey(path string) ([]byte, error) {
	text := []byte(base64.StdEncoding.EncodeToString(secret.GenerateRoot()) + "\n")
	tmp := fmt.Sprintf("%s.%s", path, rand.Text()[:8])
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp)
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, err
	}
	err = os.Link(tmp, path) // unlike a rename, it never replaces a key another process just made
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path)
	}
	return text, err
}

// configuredKeys are the signing keys an operator brings along.
func configuredKeys(cfg config.JWT) ([]token.Key, error) {
	var keys []token.Key
	if cfg.Keys.Reveal() != "" {
		var err error
		keys, err = token.ParseJWKs([]byte(cfg.Keys.Reveal()), cfg.ValidMethods)
		if err != nil {
			return nil, err
		}
	}
	valid := len(cfg.ValidMethods) == 0 && len(keys) == 0
	for _, m := range cfg.ValidMethods {
		valid = valid || m == "HS256"
	}
	if cfg.Secret.Reveal() != "" && valid {
		keys = append(keys, token.Secret(cfg.KeyID, []byte(cfg.Secret.Reveal()), len(keys) == 0))
	}
	return keys, nil
}

// logger writes to the file or the stream the configuration names.
func logger(e env, cfg config.Log) (*slog.Logger, io.Closer, error) {
	out := e.err
	var closer io.Closer = io.NopCloser(nil)
	if cfg.File != "" {
		path := under(e, cfg.File)
		err := os.MkdirAll(filepath.Dir(path), 0o700) // it may well be the data folder, before that is made
		if err != nil {
			return nil, nil, fmt.Errorf("log file: %w; GATEHOUSE_LOG_FILE names it", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("log file: %w; GATEHOUSE_LOG_FILE names it", err)
		}
		out, closer = f, f
	}
	opts := &slog.HandlerOptions{Level: cfg.Level}
	f, isFile := out.(*os.File)
	text := cfg.Format == "text" || cfg.Format == "auto" && isFile && terminal(f)
	if text {
		return slog.New(slog.NewTextHandler(out, opts)), closer, nil
	}
	return slog.New(slog.NewJSONHandler(out, opts)), closer, nil
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
