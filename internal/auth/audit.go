package auth

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"gatehouse/internal/store"
)

// EventID is the place of an event in time.
type EventID = store.EventID

// ParseEventID reads the text form of an event's id.
func ParseEventID(s string) (EventID, error) { return store.ParseEventID(s) }

// TrailFilter picks a page of what happened.
type TrailFilter struct {
	Names  []EventName // any of these; nil: whatever it is
	Author string      // in the address, number or name of who did it, or in what they are called; empty: whoever
	Before EventID     // the page begins behind it; zero: by Offset
	Offset int
	Limit  int
}

// Happened is an event with those it names.
type Happened struct {
	Event
	By     string // what acted, where that is no user: "operator", "cli", a role
	Author *User  // who did it; nil: no user, or none that is left
	Whom   *User  // whom it happened to; likewise
}

// AuthorName is what the author is called in their own data, or nothing.
func (h *Happened) AuthorName() string {
	var data struct {
		FullName any `json:"full_name"`
		Name     any `json:"name"`
	}
	if h.Author == nil || json.Unmarshal(h.Author.UserMetadata, &data) != nil {
		return ""
	}
	for _, v := range []any{data.FullName, data.Name} {
		if s, ok := v.(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// What a list of events may cost.
const (
	maxCountedEvents = 100_000
	maxAuthors       = 250
)

// actors are those that act without being a user.
func (s *Service) actors() []string {
	list := []string{"operator", "cli", "system", "anonymous"}
	for _, role := range s.policy.AdminRoles {
		list = append(list, rolePrefix+role)
	}
	return list
}

// rolePrefix begins the actor of whoever acts by a role and no user.
const rolePrefix = "role:"

// Trail returns a page of what happened, newest first, and how many there are
// in all, counted up to a hundred thousand. Authors are looked for among the
// users there are: of those that match, the newest few hundred.
func (s *Service) Trail(ctx context.Context, c Caller, f TrailFilter) (list []Happened, total int, err error) {
	find := store.EventFilter{Before: f.Before, Offset: f.Offset, Limit: f.Limit, Count: maxCountedEvents}
	if f.Names != nil {
		find.Names = []string{}
		for _, n := range f.Names {
			find.Names = append(find.Names, string(n))
		}
	}
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		if f.Author != "" {
			find.Actors, err = s.authors(tx, f.Author)
			if err != nil {
				return err
			}
		}
		var events []Event
		events, total, err = tx.EventPage(find)
		if err != nil {
			return err
		}
		list, err = people(tx, events)
		return err
	})
	return list, max(total, f.Offset+len(list)), err
}

// authors are the actors a word is found in.
func (s *Service) authors(tx *store.Tx, word string) ([]string, error) {
	found := []string{}
	for _, a := range s.actors() {
		if strings.Contains(strings.ToLower(strings.TrimPrefix(a, rolePrefix)), strings.ToLower(word)) {
			found = append(found, a)
		}
	}
	users, _, err := tx.UserPage(UserFilter{Contains: word, Limit: maxAuthors})
	for i := range users {
		found = append(found, users[i].ID.String())
	}
	return found, err
}

// people looks up all that events name, at once.
func people(tx *store.Tx, events []Event) ([]Happened, error) {
	list := make([]Happened, len(events))
	var ids []UserID
	by := make([]UserID, len(events))
	for i, e := range events {
		list[i] = Happened{Event: e}
		id, err := store.ParseUserID(e.Actor)
		if err != nil {
			list[i].By = strings.TrimPrefix(e.Actor, rolePrefix)
		}
		by[i] = id
		ids = append(ids, id, e.UserID)
	}
	slices.SortFunc(ids, func(a, b UserID) int { return slices.Compare(a[:], b[:]) })
	ids = slices.DeleteFunc(slices.Compact(ids), UserID.IsZero)
	users, err := tx.UsersOf(ids)
	if err != nil {
		return nil, err
	}
	known := make(map[UserID]*User, len(users))
	for i := range users {
		known[users[i].ID] = &users[i]
	}
	for i := range list {
		list[i].Author, list[i].Whom = known[by[i]], known[events[i].UserID]
	}
	return list, nil
}
