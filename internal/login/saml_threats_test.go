package login_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

// P04: on however many nodes.
func TestThreat_P04_anAssertionIsGoodOnce(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme := connect(t, h, domains("corp.example"))
	nodes := h.Nodes(t, 2, withSAML(t))
	d := acme.leave(t, h)
	response := acme.says(t, d, person("7", ann))
	tickets := make([]string, 10)
	good := together(t, len(tickets), auth.AssertionFailed, func(i int) error {
		r, err := receive(t, nodes[i%2], response, d.State)
		if err == nil {
			tickets[i] = r.Ticket
		}
		return err
	})
	if good != 1 {
		t.Fatalf("one assertion was taken %d times", good)
	}
	for _, later := range []time.Duration{time.Minute, 3 * time.Minute, 2*time.Minute - time.Second} {
		h.Clock.Advance(later)
		_, err := receive(t, nodes[1], response, d.State)
		want(t, "later", err, auth.AssertionFailed)
	}
	d = acme.leave(t, h)
	r, err := receive(t, h, acme.says(t, d, person("7", ann)), d.State)
	ok(t, "receive", err)
	good = together(t, 10, auth.StateFailed, func(i int) error {
		_, err := finish(t, nodes[i%2], d, r.Ticket)
		return err
	})
	if good != 1 {
		t.Errorf("one ticket opened %d sessions", good)
	}
}

// P04: what the browser brings is as good as the assertion, also where no journey
// says whose it is.
func TestThreat_P04_aTicketIsGoodOnceHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	yes := true
	ch := domains("corp.example")
	ch.AllowIdPInitiated = &yes
	acme := connect(t, h, ch)
	who := person("7", ann)
	r, err := receive(t, h, acme.Respond(samltest.Answer{User: &who}), "")
	ok(t, "receive", err)
	_, err = finish(t, h, nil, r.Ticket)
	ok(t, "the first time", err)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	spelled := []string{r.Ticket, r.Ticket + "\n", "\r\n" + r.Ticket, r.Ticket[:9] + "\n" + r.Ticket[9:], r.Ticket + "="}
	head, last := r.Ticket[:len(r.Ticket)-1], r.Ticket[len(r.Ticket)-1]
	for _, c := range letters { // bits of the last letter that are none of the bytes
		if byte(c) != last {
			spelled = append(spelled, head+string(c))
		}
	}
	for _, again := range spelled {
		_, err = finish(t, h, nil, again)
		if err == nil {
			t.Errorf("%d bytes, ending %q: it is good again", len(again), again[len(again)-2:])
		}
	}
}

func TestThreat_F01_aTicketIsOfTheBrowserThatSetOut(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	yes := true
	ch := domains("corp.example")
	ch.AllowIdPInitiated = &yes
	acme, other := connect(t, h, ch), connect(t, h, domains("other.example"))
	who := person("7", ann)
	get := func() (*auth.Departure, string) {
		d := acme.leave(t, h)
		r, err := receive(t, h, acme.says(t, d, who), d.State)
		ok(t, "receive", err)
		return d, r.Ticket
	}
	_, ticket := get()
	_, err := finish(t, h, acme.leave(t, h), ticket)
	want(t, "another browser's journey", err, auth.StateFailed)
	_, err = finish(t, h, other.leave(t, h), ticket)
	want(t, "a journey to another company", err, auth.StateFailed)
	_, err = finish(t, h, nil, ticket)
	want(t, "no journey", err, auth.StateFailed)
	unasked, err := receive(t, h, acme.Respond(samltest.Answer{User: &who}), "")
	ok(t, "unasked", err)
	_, err = finish(t, h, acme.leave(t, h), unasked.Ticket)
	want(t, "a journey, and what nobody asked for", err, auth.StateFailed)
	d, ticket := get()
	h.Clock.Advance(2 * time.Minute)
	_, err = finish(t, h, d, ticket)
	want(t, "too late", err, auth.StateFailed)
	d, _ = get()
	j, err := h.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
	ok(t, "return", err)
	_, err = h.SignIn(t.Context(), authtest.Caller(), "social", auth.Input{Journey: j, Token: h.Elsewhere.Code(authtest.Person("google", "1", ann))}, true)
	if err == nil {
		t.Error("a journey to a company ended at a provider")
	}
	if n := h.Count(t); n != 0 {
		t.Errorf("there are %d users", n)
	}
}

// P03: an answer is to the request of that journey, and of that company.
func TestThreat_P03_anAnswerIsToTheJourneyThatAsked(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme, other := connect(t, h, domains("corp.example")), connect(t, h, domains("other.example"))
	one, two := acme.leave(t, h), acme.leave(t, h)
	response := acme.says(t, one, person("7", ann))
	for name, state := range map[string]string{"another journey": two.State, "none": "", "rubbish": "rubbish"} {
		_, err := receive(t, h, response, state)
		want(t, name, err, auth.AssertionFailed)
	}
	_, query, _ := strings.Cut(one.URL, "?")
	r, err := acme.ReadRequest(query)
	ok(t, "request", err)
	who := person("7", "eve@other.example")
	got, err := receive(t, h, other.Respond(samltest.Answer{InResponseTo: r.ID, User: &who}), one.State)
	ok(t, "another company's word, in its own name", err)
	_, err = finish(t, h, one, got.Ticket)
	want(t, "at the journey to the first", err, auth.StateFailed)
	// One that was asked for is not unasked for where companies may begin.
	yes := true
	_, err = h.SetSSO(t.Context(), authtest.Operator(), acme.conn.ID.String(), auth.SSOChanges{AllowIdPInitiated: &yes})
	ok(t, "allow", err)
	_, err = receive(t, h, acme.says(t, acme.leave(t, h), person("7", ann)), "")
	want(t, "without its state", err, auth.AssertionFailed)
	unasked := person("7", ann)
	_, err = receive(t, h, acme.Respond(samltest.Answer{User: &unasked}), acme.leave(t, h).State)
	want(t, "an answer to nothing, with a state", err, auth.AssertionFailed)
	if n := h.Count(t); n != 0 {
		t.Errorf("there are %d users", n)
	}
}

func TestThreat_P03_companiesBeginOnlyWhereTheyMay(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme := connect(t, h, domains("corp.example"))
	who := person("7", ann)
	_, err := receive(t, h, acme.Respond(samltest.Answer{User: &who}), "")
	want(t, "unasked", err, auth.AssertionFailed)
	who.Format = saml.FormatTransient
	d := acme.leave(t, h)
	_, err = receive(t, h, acme.says(t, d, who), d.State)
	want(t, "a name that changes each time", err, auth.AssertionNoUser)
	d = acme.leave(t, h)
	_, err = receive(t, h, acme.says(t, d, samltest.User{NameID: "7", Format: saml.FormatPersistent}), d.State)
	want(t, "nobody's address", err, auth.AssertionNoEmail)
}

// L20: at each of the steps, and not only at the first.
func TestThreat_L20_aConnectionThatIsOffMeanwhileSignsNobodyIn(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	yes, no := true, false
	for name, shut := range map[string]func(*authtest.House, *company) (house *authtest.House, open func()){
		"disabled": func(h *authtest.House, p *company) (*authtest.House, func()) {
			set := func(off *bool) {
				_, err := h.SetSSO(t.Context(), authtest.Operator(), p.conn.ID.String(), auth.SSOChanges{Disabled: off})
				ok(t, "disable", err)
			}
			set(&yes)
			return h, func() { set(&no) }
		},
		"SAML off": func(h *authtest.House, _ *company) (*authtest.House, func()) {
			return h.Under(t, withSAML(t), authtest.With(func(p *auth.Policy) { p.SAMLDisabled = true })), func() {}
		},
		"dropped": func(h *authtest.House, p *company) (*authtest.House, func()) {
			_, err := h.DropSSO(t.Context(), authtest.Operator(), p.conn.ID.String())
			ok(t, "drop", err)
			return h, func() {}
		},
	} {
		domain := strings.ReplaceAll(strings.ToLower(name), " ", "-") + ".example"
		acme := connect(t, h, domains(domain))
		one, two := acme.leave(t, h), acme.leave(t, h)
		first := acme.says(t, one, person("7", "ann@"+domain))
		r, err := receive(t, h, acme.says(t, two, person("7", "ann@"+domain)), two.State)
		ok(t, name+": receive", err)
		there, open := shut(h, acme)
		_, err = there.SetOut(t.Context(), authtest.Caller(), auth.Wish{Method: "saml", Provider: acme.conn.ID.String()})
		if err == nil {
			t.Errorf("%s: a browser set out", name)
		}
		_, err = receive(t, there, first, one.State)
		if err == nil {
			t.Errorf("%s: an assertion was taken", name)
		}
		_, err = finish(t, there, two, r.Ticket)
		if err == nil {
			t.Errorf("%s: a ticket from before signed in", name)
		}
		open()
	}
	if n := h.Count(t); n != 0 {
		t.Errorf("there are %d users", n)
	}
}

// P12: a company speaks for its own people.
func TestThreat_P12_aCompanyNamesNobodyElsesPeople(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme, anybody := connect(t, h, domains("corp.example")), connect(t, h, auth.SSOChanges{})
	connect(t, h, domains("other.example"))
	local := h.Join(t, "local@free.example", "correct horse")
	h.Join(t, "local@corp.example", "correct horse")
	for _, email := range []string{
		"eve@other.example", "local@free.example", "eve@sub.corp.example", "eve@corp.example.evil.example", "eve@CORP.example.", `"a@corp.example"@free.example`, "eve@corp.example,local@free.example",
	} {
		_, err := acme.enter(t, h, person("1", email))
		want(t, "a company with domains, about "+email, err, auth.AssertionFailed)
	}
	for email, code := range map[string]auth.Code{
		"eve@corp.example": auth.AssertionFailed, "eve@Other.Example": auth.AssertionFailed, "local@free.example": auth.AccountExists, " LOCAL@free.example ": auth.AccountExists,
	} {
		_, err := anybody.enter(t, h, person("1", email))
		want(t, "a company without any, about "+email, err, code)
	}
	if n := h.Count(t); n != 2 {
		t.Errorf("there are %d users, want the two who were", n)
	}
	if u := user(t, h, local.User.ID); len(u.Identities) != 1 {
		t.Errorf("identities %+v", u.Identities)
	}
	g, err := acme.enter(t, h, person("1", "local@corp.example"))
	ok(t, "its own domain", err)
	if g.User.Email != "local@corp.example" || len(g.User.Identities) != 2 {
		t.Errorf("user %+v", g.User)
	}
}

// P12 and L06: a company that may name anybody names somebody before they come.
func TestThreat_P12_whoWasNamedBeforehandSharesNothing(t *testing.T) {
	t.Parallel()
	for name, arrive := range map[string]func(t *testing.T, h *authtest.House) auth.UserID{
		"by the company that has the domain": func(t *testing.T, h *authtest.House) auth.UserID {
			g, err := connect(t, h, domains("corp.example")).enter(t, h, person("ann", ann))
			ok(t, "the owner", err)
			return g.User.ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := samlHouse(t)
			evil := connect(t, h, auth.SSOChanges{})
			_, err := evil.enter(t, h, person("waits", ann))
			ok(t, "somebody who is not here", err)
			id := arrive(t, h)
			g, err := evil.enter(t, h, person("waits", "waits@free.example"))
			if err == nil && g.User.ID == id {
				t.Errorf("who was named beforehand is in the account of %s", ann)
			}
		})
	}
}

// P12: when a domain has another company, the one of before is no way in any more.
func TestThreat_P12_aDomainThatChangesHandsTakesItsPeopleAlong(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(t *testing.T, h *authtest.House){
		"of whom the company made users": func(*testing.T, *authtest.House) {},
		"who were here before":           func(t *testing.T, h *authtest.House) { h.Join(t, ann, "correct horse") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := samlHouse(t)
			first(t, h)
			before := connect(t, h, domains("corp.example", "before.example"))
			_, err := before.enter(t, h, person("7", ann))
			ok(t, "by the company of before", err)
			left := []string{"before.example"}
			_, err = h.SetSSO(t.Context(), authtest.Operator(), before.conn.ID.String(), auth.SSOChanges{Domains: &left})
			ok(t, "give the domain up", err)
			now := connect(t, h, domains("corp.example"))
			g, err := now.enter(t, h, person("ann", ann))
			ok(t, "by the company of now", err)
			old, err := before.enter(t, h, person("7", "ann@before.example"))
			if err == nil && old.User.ID == g.User.ID {
				t.Errorf("the company of before is in the account of %s", ann)
			}
		})
	}
}

// P10: what came with the answer is kept for nobody and opened by nobody.
func TestThreat_P10_aRelayStateIsComparedAndNotUsed(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme := connect(t, h, domains("corp.example"))
	for _, relay := range []string{"javascript:alert(1)", "https://evil.example/", strings.Repeat("x", 100000), "\x00", "<script>"} {
		d := acme.leave(t, h)
		r, err := receive(t, h, acme.says(t, d, person("7", ann)), relay)
		want(t, relay[:1], err, auth.AssertionFailed)
		if r != nil {
			t.Errorf("%.20q: received %+v", relay, r)
		}
		if err != nil && strings.Contains(err.Error(), relay) {
			t.Errorf("%.20q is said back: %v", relay, err)
		}
	}
}

// I01: nothing of one tenant's is good at another, though they know the same
// company.
func TestThreat_I01_anAssertionIsForOneTenant(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme := connect(t, h, domains("corp.example"))
	there := h.There()
	ch := domains("corp.example")
	xml := string(acme.Metadata())
	ch.MetadataXML = &xml
	_, err := there.AddSSO(t.Context(), authtest.Operator(), ch)
	ok(t, "connect there", err)
	d := acme.leave(t, h)
	r, err := receive(t, h, acme.says(t, d, person("7", ann)), d.State)
	ok(t, "receive here", err)
	_, err = finish(t, there, d, r.Ticket)
	if err == nil {
		t.Error("it was finished there")
	}
	_, err = receive(t, there, acme.says(t, acme.leave(t, h), person("7", ann)), d.State)
	want(t, "receive there", err, auth.AssertionFailed)
	if n := there.Count(t); n != 0 {
		t.Errorf("there are %d users there", n)
	}
}
