package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
	"gatehouse/internal/social"
	"gatehouse/internal/store"
	"gatehouse/internal/tenants"
	"gatehouse/internal/token"
	"gatehouse/internal/vault"
)

// house is what serving and the offline verbs share: the database, and what
// tenants are made of.
type house struct {
	env    env
	db     *store.DB
	vault  *vault.Vault
	hasher *secret.Hasher
	log    *slog.Logger
	out    *fetch.Client // every request of ours to elsewhere
	wake   func()        // a delivery waits

	metadata     *fetch.Client // of companies' identity providers: with places of its own, for administrators of tenants name the addresses
	providerKeys *social.Keys  // what providers say about themselves, and sign with

	level *slog.LevelVar // of the log; nil: of an offline verb

	// What counts requests outlives the settings.
	limiter *limit.Limiter
	shared  *limit.Shared
	large   chan struct{} // places for large bodies

	address string // where it listens, as a URL; empty: of an offline verb

	plan    atomic.Pointer[plan]
	inboxes inboxes
	dir     *tenants.Directory[*site]
	tenants *auth.Tenants

	*site // the tenant at hand, of offline verbs; of a server the default one as it was at the start
}

// plan is what the operator wants, as it was read at one time. Another one takes
// its place when the configuration is read again.
type plan struct {
	base   *config.Base
	checks auth.PasswordChecks // with the operator's own list
	schema auth.Schema
}

// load reads the configuration; every fault is reported at once.
func load(e env) (*config.Base, error) {
	base, report := settings(e)
	for _, w := range report.Warnings {
		fmt.Fprintln(e.err, "warning:", w)
	}
	err := report.Err()
	if err != nil {
		return nil, fmt.Errorf("the configuration has faults:\n%w", err)
	}
	return base, nil
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
// typed in the wrong folder must not succeed on a house of its own. The tenant
// at hand is the one the command line names.
func openHouse(ctx context.Context, e env, create bool) (h *house, err error) {
	base, err := load(e)
	if err != nil {
		return nil, err
	}
	if !create {
		err = exists(e, base.Config)
		if err != nil {
			return nil, err
		}
	}
	db, err := openDB(ctx, e, base.Config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	h, err = build(ctx, e, base, db, nil, slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil || e.tenant == "" {
		return h, err
	}
	t, err := h.tenants.TenantByName(ctx, e.tenant)
	if auth.CodeOf(err) == auth.TenantNotFound && err != nil {
		return nil, fmt.Errorf("there is no tenant %q; gatehouse tenant list shows them", e.tenant)
	}
	if err == nil {
		h.site, err = h.dir.Get(ctx, tenants.Key{ID: t.ID})
	}
	return h, err
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
func build(ctx context.Context, e env, base *config.Base, db *store.DB, wake func(), log *slog.Logger) (*house, error) {
	cfg := base.Config
	err := upToDate(ctx, cfg, db)
	if err != nil {
		return nil, err
	}
	v, err := openVault(ctx, db, cfg.Server, under(e, cfg.Server.Data))
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
	h := &house{
		env: e, db: db, vault: v, hasher: hasher, log: log, wake: wake,
		out:     fetch.New(fetch.Options{AllowPrivate: cfg.Server.OutgoingAllowPrivate}),
		limiter: limit.New(time.Now), large: make(chan struct{}, 8),
	}
	root, err := v.Root(ctx, store.TenantID{})
	if err != nil {
		return nil, err
	}
	h.shared = sharedLimits(db, root, h.limiter)
	plan, err := h.newPlan(base)
	if err != nil {
		return nil, err
	}
	h.plan.Store(plan)
	h.metadata = h.out.Within(fetch.Limits{Timeout: 3 * time.Second, MaxConcurrent: 8})
	h.providerKeys = social.NewKeys(social.KeysOptions{Fetch: h.out, Now: db.Now, TTL: cfg.Providers.CacheLife, Log: log})
	h.dir = tenants.New(tenants.Options[*site]{
		DB: db, Make: h.open, Most: cfg.Tenants.Live,
		Lost: func(_ context.Context, err error) {
			log.Debug("changes of tenants could not be looked for", "err", err)
		},
	})
	h.site, err = h.dir.Get(ctx, tenants.Key{})
	if err != nil {
		return nil, err
	}
	h.tenants = auth.NewTenants(auth.TenantsOptions{Home: h.site.auth, Keys: v, Sound: h.sound, Changed: h.dir.Forget})
	return h, nil
}

// newPlan reads what settings name.
func (h *house) newPlan(base *config.Base) (*plan, error) {
	checks, err := passwordChecks(h.env, base.Config, h.out, h.log)
	if err != nil {
		return nil, err
	}
	data, err := dataSchema(h.env, base.Config)
	if err != nil {
		return nil, err
	}
	return &plan{base: base, checks: checks, schema: data}, nil
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

// openVault opens the root keys, which hang on the master key: from the
// configuration, or from a file made at the first start, and never later.
func openVault(ctx context.Context, db *store.DB, cfg config.Server, data string) (*vault.Vault, error) {
	begun, err := vault.Begun(ctx, db)
	if err != nil {
		return nil, err
	}
	master, err := currentMasterKey(cfg, data, begun)
	if err != nil {
		return nil, err
	}
	older, err := olderKeys(cfg, data)
	if err != nil {
		return nil, err
	}
	v := vault.New(db, master, older...)
	return v, v.Begin(ctx)
}

func currentMasterKey(cfg config.Server, data string, begun bool) (*secret.Root, error) {
	key := cfg.SealingKey()
	if key != nil {
		return secret.NewRoot(key)
	}
	path := filepath.Join(data, "master.key")
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && begun {
		return nil, fmt.Errorf("master key: %s is missing, and the database was begun with it; put it back from your backup, or set GATEHOUSE_MASTER_KEY", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = newMasterKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return readMasterKey(path)
}

func readMasterKey(path string) (*secret.Root, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("master key: %s is not base64 of 32 bytes; put the file back from your backup", path)
	}
	return secret.NewRoot(key)
}

// oldMasterKey is the file gatehouse keys rewrap leaves the last key in.
const oldMasterKey = "master.key.old"

// olderKeys are master keys that still open what was not sealed anew.
func olderKeys(cfg config.Server, data string) (list []*secret.Root, err error) {
	for _, key := range cfg.OlderKeys() {
		root, err := secret.NewRoot(key)
		if err != nil {
			return nil, err
		}
		list = append(list, root)
	}
	path := filepath.Join(data, oldMasterKey)
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	root, err := readMasterKey(path)
	if err != nil {
		return nil, err
	}
	return append(list, root), nil
}

// newMasterKey writes a key that either is whole and on disk or does not exist:
// a half-written one would lock everybody out at the next start.
func newMasterKey(path string) error {
	text := []byte(base64.StdEncoding.EncodeToString(secret.GenerateRoot()) + "\n")
	tmp := fmt.Sprintf("%s.%s", path, rand.Text()[:8])
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	err = os.Link(tmp, path) // unlike a rename, it never replaces a key another process just made
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
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
