package saml

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/beevik/etree"
)

const bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

// judge checks what a signed assertion says, and returns it.
func (sp *ServiceProvider) judge(el *etree.Element, idp IdP, requestID string) (*Assertion, error) {
	a := &Assertion{Attributes: map[string][]string{}}
	now := sp.opt.Now()
	a.ID, _ = attr(el, "ID")
	if v, _ := attr(el, "Version"); v != "2.0" || !ncName.MatchString(a.ID) {
		return nil, malformed(errors.New("an assertion without an ID, or not of version 2.0"))
	}
	issuer, err := one(el, nsAssertion, "Issuer")
	if err != nil {
		return nil, malformed(err)
	}
	if err := isIssuer(issuer, idp.EntityID); err != nil {
		return nil, err
	}
	a.Issuer = idp.EntityID
	issued, ok, err := moment(el, "IssueInstant")
	if err != nil || !ok {
		return nil, malformed(errors.Join(err, errors.New("an assertion without its moment")))
	}
	if issued.After(now.Add(Skew)) {
		return nil, refuse(NotYet, "the assertion is from the future: a clock is wrong", nil)
	}
	a.NotOnOrAfter = issued.Add(maxAge)

	subject, err := one(el, nsAssertion, "Subject")
	if err != nil {
		return nil, malformed(err)
	}
	if err := a.readConditions(el, sp.opt.EntityID, now); err != nil {
		return nil, err
	}
	if err := a.confirm(subject, sp.opt.ACS, requestID, now); err != nil {
		return nil, err
	}
	if !now.Before(a.NotOnOrAfter.Add(Skew)) {
		return nil, refuse(Expired, "the assertion has expired", nil)
	}
	a.NotOnOrAfter = a.NotOnOrAfter.Add(Skew)
	if err := a.readSession(el, now); err != nil {
		return nil, err
	}
	if err := a.readAttributes(el); err != nil {
		return nil, err
	}
	if err := a.readNameID(subject); err != nil {
		return nil, err
	}
	if a.UserID() == "" {
		return nil, refuse(NoNameID, "the identity provider names nobody, or by a name that changes every time", nil)
	}
	return a, nil
}

// within checks the window that el gives, and returns its end, or zero.
func within(el *etree.Element, now time.Time) (end time.Time, err error) {
	from, ok, err := moment(el, "NotBefore")
	if err != nil {
		return end, malformed(err)
	}
	if ok && now.Add(Skew).Before(from) {
		return end, refuse(NotYet, "the assertion is not valid yet", nil)
	}
	end, ok, err = moment(el, "NotOnOrAfter")
	if err != nil {
		return end, malformed(err)
	}
	if ok && !now.Before(end.Add(Skew)) {
		return end, refuse(Expired, "the assertion has expired", nil)
	}
	return end, nil
}

func (a *Assertion) endsBy(end time.Time) {
	if !end.IsZero() && end.Before(a.NotOnOrAfter) {
		a.NotOnOrAfter = end
	}
}

// readConditions checks when and for whom the assertion is meant. A condition
// that is not known cannot be kept, so it is refused.
func (a *Assertion) readConditions(el *etree.Element, entityID string, now time.Time) error {
	c, err := one(el, nsAssertion, "Conditions")
	if err != nil {
		return malformed(err)
	}
	end, err := within(c, now)
	if err != nil {
		return err
	}
	a.endsBy(end)
	restrictions := 0
	for _, cond := range c.ChildElements() {
		switch {
		case is(cond, nsAssertion, "AudienceRestriction"):
			restrictions++
			ok, err := audience(cond, entityID)
			if err != nil {
				return malformed(err)
			}
			if !ok {
				return refuse(Audience, "the assertion is meant for another service", nil)
			}
		case is(cond, nsAssertion, "OneTimeUse"), is(cond, nsAssertion, "ProxyRestriction"):
			// Kept anyway: nothing is used twice, and nothing is passed on.
		default:
			return malformed(fmt.Errorf("the condition %.50q", cond.Tag))
		}
	}
	if restrictions == 0 {
		return refuse(Audience, "the assertion does not say whom it is meant for", nil)
	}
	return nil
}

func audience(restriction *etree.Element, entityID string) (bool, error) {
	found := false
	for _, el := range children(restriction, nsAssertion, "Audience") {
		s, err := trimmed(el)
		if err != nil {
			return false, err
		}
		found = found || s == entityID
	}
	return found, nil
}

// confirm looks for a confirmation that this answer is where and when and what
// for the identity provider has sent it. One is enough; the error is that of
// the first.
func (a *Assertion) confirm(subject *etree.Element, acs, requestID string, now time.Time) error {
	var first error
	for _, c := range children(subject, nsAssertion, "SubjectConfirmation") {
		if method, _ := attr(c, "Method"); method != bearer {
			continue
		}
		end, err := confirmation(c, acs, requestID, now)
		if err == nil {
			a.endsBy(end)
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		return malformed(errors.New("no bearer confirmation"))
	}
	return first
}

func confirmation(c *etree.Element, acs, requestID string, now time.Time) (end time.Time, err error) {
	data, err := one(c, nsAssertion, "SubjectConfirmationData")
	if err != nil {
		return end, malformed(err)
	}
	if to, _ := attr(data, "Recipient"); to != acs {
		return end, refuse(Recipient, "the assertion is to be delivered at another address", fmt.Errorf("recipient %.200q", to))
	}
	if end, err = within(data, now); err != nil {
		return end, err
	}
	if end.IsZero() {
		return end, malformed(errors.New("a bearer confirmation without an end"))
	}
	return end, answers(data, requestID)
}

// readSession reads how and until when the user is signed in there.
func (a *Assertion) readSession(el *etree.Element, now time.Time) error {
	statements := children(el, nsAssertion, "AuthnStatement")
	if len(statements) == 0 {
		return malformed(errors.New("an assertion that nobody has signed in"))
	}
	for _, s := range statements {
		if index, _ := attr(s, "SessionIndex"); a.SessionIndex == "" {
			a.SessionIndex = index
		}
		end, ok, err := moment(s, "SessionNotOnOrAfter")
		if err != nil {
			return malformed(err)
		}
		if !ok {
			continue
		}
		if !now.Before(end.Add(Skew)) {
			return refuse(Expired, "the session at the identity provider has ended", nil)
		}
		if a.SessionEnds.IsZero() || end.Before(a.SessionEnds) {
			a.SessionEnds = end
		}
	}
	return nil
}

func (a *Assertion) readAttributes(el *etree.Element) error {
	friendly := map[string][]string{}
	for _, statement := range children(el, nsAssertion, "AttributeStatement") {
		if len(children(statement, nsAssertion, "EncryptedAttribute")) > 0 {
			return refuse(Encrypted, "encrypted attributes are not accepted", nil)
		}
		for _, at := range children(statement, nsAssertion, "Attribute") {
			name, _ := attr(at, "Name")
			if name == "" {
				continue
			}
			alias, _ := attr(at, "FriendlyName")
			for _, v := range children(at, nsAssertion, "AttributeValue") {
				s, err := value(v)
				if err != nil {
					return malformed(err)
				}
				a.Attributes[name] = append(a.Attributes[name], s)
				if alias != "" && alias != name {
					friendly[alias] = append(friendly[alias], s)
				}
			}
		}
	}
	for alias, values := range friendly {
		if _, ok := a.Attributes[alias]; !ok {
			a.Attributes[alias] = values
		}
	}
	return nil
}

// value reads an AttributeValue: text, or a NameID as eduPerson's targeted ID
// has it. Of any other structure there is no telling what it means; it counts
// as no value.
func value(el *etree.Element) (string, error) {
	switch inner := el.ChildElements(); {
	case len(inner) == 0:
		return text(el)
	case len(inner) == 1 && is(inner[0], nsAssertion, "NameID"):
		return text(inner[0])
	}
	return "", nil
}

// readNameID reads whom the assertion is about. An identifier is taken as it
// is written or not at all: what is trimmed or cut off may be somebody else's.
func (a *Assertion) readNameID(subject *etree.Element) error {
	if len(children(subject, nsAssertion, "EncryptedID")) > 0 {
		return refuse(Encrypted, "encrypted name identifiers are not accepted", nil)
	}
	el, err := atMostOne(subject, nsAssertion, "NameID")
	if err != nil {
		return malformed(err)
	}
	if el == nil {
		return nil
	}
	if a.NameID, err = text(el); err != nil {
		return malformed(err)
	}
	a.NameIDFormat, _ = attr(el, "Format")
	for _, id := range append(slices.Clone(a.Attributes[subjectID]), a.NameID) {
		if len(id) > 1024 || strings.TrimSpace(id) != id || strings.ContainsFunc(id, unicode.IsControl) {
			return malformed(errors.New("a name identifier with space around it, control characters, or of more than 1024 bytes"))
		}
	}
	return nil
}
