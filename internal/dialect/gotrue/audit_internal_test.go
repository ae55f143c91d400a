package gotrue

import (
	"maps"
	"slices"
	"testing"

	"gatehouse/internal/auth"
)

// Patterns are those of all calls.
func Patterns() []string { return slices.Sorted(maps.Keys(routes())) }

// An event without an action would be found by no search.
func TestActions_haveEveryEvent(t *testing.T) {
	known := map[auth.EventName]bool{}
	for _, name := range auth.Events {
		known[name] = true
		if a := actions[name]; a.name == "" || a.kind == "" {
			t.Errorf("%s has the action %q of the type %q; add it to actions", name, a.name, a.kind)
		}
	}
	for name := range actions {
		if !known[name] {
			t.Errorf("%s is no event", name)
		}
	}
}
