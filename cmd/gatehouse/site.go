package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/login"
	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/secret"
	"gatehouse/internal/social"
	"gatehouse/internal/store"
	"gatehouse/internal/tenants"
)

// site is one tenant at work.
type site struct {
	cfg    *config.Config
	tenant auth.Tenant
	root   *secret.Root
	auth   *auth.Service
	inbox  *notify.Inbox // nil: mail is really sent
	post   outbox.Post
	texts  *texts

	callees *callees // the operator's own services
	human   human

	providers *social.Providers
	described func() ([]byte, error) // as a SAML service provider; nil: it is none

	once    sync.Once // of handler: offline verbs need none
	handler http.Handler
	err     error
}

// open puts a tenant to work.
func (h *house) open(ctx context.Context, row store.Tenant, k tenants.Key) (*site, error) {
	root, err := h.vault.Open(row)
	if err != nil {
		return nil, err
	}
	t, err := auth.ReadTenant(row, root)
	if err != nil {
		return nil, err
	}
	s, err := h.newSite(h.plan.Load(), t, root, k.Variant)
	if err != nil {
		return nil, err
	}
	return s, s.auth.LoadKeys(ctx)
}

// newSite makes a tenant of its settings under a plan.
func (h *house) newSite(p *plan, t auth.Tenant, root *secret.Root, variant string) (*site, error) {
	cfg, err := h.settingsOf(p, t, variant)
	if err != nil {
		return nil, err
	}
	s := &site{cfg: cfg, tenant: t, root: root}
	var send notify.Sender
	send, s.inbox, err = sender(cfg, p.base.Config, h.out, h.log, h.inboxes.of(t.ID))
	if err != nil {
		return nil, err
	}
	keys, err := configuredKeys(cfg.JWT)
	if err != nil {
		return nil, err
	}
	s.texts, err = textMessages(cfg, h.out, s.inbox, h.log)
	if err != nil {
		return nil, err
	}
	s.human, err = humanOf(cfg.Captcha, t.ID, root, h.out)
	if err != nil {
		return nil, err
	}
	s.callees, err = calleesOf(cfg, t.ID, lentHooks(variant), h.db, h.out, h.log)
	if err != nil {
		return nil, err
	}
	ways, err := h.waysOf(s)
	if err != nil {
		return nil, err
	}
	send, words := s.byHook(send, templates(cfg, p.base.Config, h.out, h.log))
	s.auth = auth.New(auth.Options{
		Tenant: t.ID, DB: h.db, Root: root, Hasher: h.hasher, Policy: policy(cfg), Methods: login.All(ways), Texts: s.texts.core(),
		Endpoint: endpoint(cfg.Server.OutgoingAllowPrivate), Checks: checksOf(p.checks, cfg), Schema: p.schema, UndoURL: undoURL(cfg), Keys: keys, Wake: h.wake, Log: h.log,
		StateTail: h.stateTail(p, t, variant), Outside: h.outsideAddress, ReadIdP: h.readIdP, Captcha: s.human.core, Hooks: s.callees.core(), MailByHook: cfg.Hooks.SendEmail,
	})
	s.post = outbox.Post{
		Root: root, Templates: words, Sender: send, Texter: s.texts.sender, Words: s.texts.words,
		Work: s.auth.Work, Unsent: s.auth.Undelivered, Tell: h.tell(s),
	}
	return s, nil
}

// settingsOf are the server's settings with the tenant's own over them.
func (h *house) settingsOf(p *plan, t auth.Tenant, variant string) (*config.Config, error) {
	if t.ID.IsZero() && variant == "" {
		return p.base.Config, nil
	}
	settings := t.Settings
	if p.base.Tenants.Multi {
		settings = p.base.Lend(settings)
	}
	cfg, report := p.base.For(settings)
	err := report.Err()
	if err != nil {
		return nil, fmt.Errorf("the settings of tenant %s have faults:\n%w", t.Name, err)
	}
	if cfg.Server.ExternalURL == "" {
		// A verb knows no address that is listened on, and makes no links.
		cfg.Server.ExternalURL = tenantAddress(cmp.Or(p.base.Server.ExternalURL, "http://localhost"), t)
	}
	if variant != "" {
		var v variation
		err = json.Unmarshal([]byte(variant), &v)
		if err != nil {
			return nil, fmt.Errorf("variant: %w", err)
		}
		cfg.Server.ExternalURL = p.base.Server.ExternalURL
		if v.SiteURL != "" {
			cfg.Site.URL = v.SiteURL
		}
	}
	cfg.FollowFrom(cfg.Server.ExternalURL)
	return cfg, nil
}

// tenantAddress is where a tenant is reached that does not say: at its first host,
// or below the server's own address.
func tenantAddress(base string, t auth.Tenant) string {
	u, err := url.Parse(base)
	if err != nil || len(t.Hosts) == 0 {
		return strings.TrimSuffix(base, "/") + tenantPrefix + t.Name
	}
	host := t.Hosts[0]
	if p := u.Port(); p != "" {
		host += ":" + p
	}
	return (&url.URL{Scheme: u.Scheme, Host: host}).String()
}

// tenantPrefix is where tenants are without a host of their own.
const tenantPrefix = "/t/"

// sound refuses a tenant that could not be put to work.
func (h *house) sound(_ context.Context, t auth.Tenant) error {
	p := h.plan.Load()
	_, report := p.base.For(t.Settings)
	for _, f := range report.Faults {
		return auth.Invalid("settings", f.String())
	}
	base, err := url.Parse(p.base.Server.ExternalURL)
	for _, host := range t.Hosts {
		if err == nil && base.Hostname() == host {
			return auth.Invalid("hosts", fmt.Sprintf("%q is the server's own name", host))
		}
	}
	root, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		return err
	}
	s, err := h.newSite(p, t, root, "")
	if err == nil {
		_, err = h.serving(s)
	}
	if err != nil {
		return auth.Invalid("settings", err.Error())
	}
	return nil
}

// postOf is how a tenant's deliveries leave.
func (h *house) postOf(ctx context.Context, id store.TenantID) (*outbox.Post, error) {
	s, err := h.dir.Get(ctx, tenants.Key{ID: id})
	if err != nil {
		return nil, notThere(err)
	}
	return &s.post, nil
}

// inboxes are those for development, one for each tenant, kept for as long as
// the process lives.
type inboxes struct {
	mu  sync.Mutex
	all map[auth.TenantID]*notify.Inbox
}

func (i *inboxes) of(id auth.TenantID) func() *notify.Inbox {
	return func() *notify.Inbox {
		i.mu.Lock()
		defer i.mu.Unlock()
		in := i.all[id]
		if in == nil {
			in = notify.NewInbox(time.Now)
			if i.all == nil {
				i.all = map[auth.TenantID]*notify.Inbox{}
			}
			i.all[id] = in
		}
		return in
	}
}
