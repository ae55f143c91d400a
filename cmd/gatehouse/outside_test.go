package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/config"
	"gatehouse/internal/social"
)

// Whoever adds a provider to one list finds the other.
func TestProviders_haveSettingsAndASignInPage(t *testing.T) {
	var set []string
	for _, p := range (&config.Providers{}).All() {
		set = append(set, p.Name)
	}
	if diff := cmp.Diff(social.Known(), set); diff != "" {
		t.Errorf("internal/social/providers.go (-) and internal/config/providers.go (+):\n%s", diff)
	}
}
