package config_test

import (
	"fmt"
	"testing"
)

func TestTrustedProxies_areNetworks(t *testing.T) {
	for value, want := range map[string]string{
		"":                           "[]",
		"10.1.2.3/8":                 "[10.0.0.0/8]",
		"192.0.2.7, 2001:db8::1":     "[192.0.2.7/32 2001:db8::1/128]",
		"::ffff:10.0.0.1":            "[10.0.0.1/32]",
		"::ffff:10.0.0.0/104,::1":    "[10.0.0.0/8 ::1/128]",
		"fe80::1%eth0,2001:db8::/32": "[fe80::1/128 2001:db8::/32]",
	} {
		c, r := load(t, "GATEHOUSE_TRUSTED_PROXIES="+value)
		if got := fmt.Sprint(c.RateLimit.TrustedProxies()); got != want || len(r.Faults) != 0 {
			t.Errorf("%q: got %s, %v; want %s", value, got, r.Faults, want)
		}
	}
}
