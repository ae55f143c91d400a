package phone

import (
	"slices"
	"strings"
	"testing"
)

// iso3166 are all the codes of ISO 3166-1, and XK, which it leaves to users.
const iso3166 = " XK " +
	"AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY " +
	"BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK " +
	"FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR " +
	"IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK " +
	"ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM " +
	"PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF " +
	"TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "

// without are the codes with no range of their own: they have no plan, or
// share one as table.go tells, or nobody lives there.
var without = []string{"BL", "BV", "GS", "HM", "MF", "PN", "TF", "UM"}

func TestCountries_everyOneOnceAndNoneMissing(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range countries {
		if len(row.country) != 2 || !strings.Contains(iso3166, " "+row.country+" ") {
			t.Errorf("%q is no country of ISO 3166-1", row.country)
		}
		if seen[row.country] {
			t.Errorf("%s has two rows", row.country)
		}
		seen[row.country] = true
	}
	for c := range strings.FieldsSeq(iso3166) {
		if seen[c] == slices.Contains(without, c) {
			t.Errorf("%s: has a row: %v", c, seen[c])
		}
	}
}

func TestCountries_everyPrefixOnceAndToAPurpose(t *testing.T) {
	seen, most := map[string]string{}, 0
	for _, row := range countries {
		if row.prefixes != strings.Join(strings.Fields(row.prefixes), " ") || row.prefixes == "" {
			t.Errorf("%s: prefixes %q are not words with one space between", row.country, row.prefixes)
		}
		for p := range strings.FieldsSeq(row.prefixes) {
			most = max(most, len(p))
			if !numeric(p) || p[0] == '0' {
				t.Errorf("%s: %q is no prefix", row.country, p)
			}
			if o, ok := seen[p]; ok {
				t.Errorf("%s is in the rows of %s and %s", p, o, row.country)
			}
			seen[p] = row.country
		}
	}
	if most != longest {
		t.Errorf("the longest prefix has %d digits, longest says %d", most, longest)
	}
	for p, country := range seen {
		code := codeLength(p)
		if len(p) < code {
			t.Errorf("%s (%s) is shorter than a calling code", p, country)
			continue
		}
		// A part of a plan belongs to somebody else than the plan, or the row
		// says nothing.
		for n := len(p) - 1; n > 0; n-- {
			if o, ok := seen[p[:n]]; ok && n < code {
				t.Errorf("calling code %s (%s) begins with calling code %s (%s)", p, country, p[:n], o)
			} else if ok && o == country {
				t.Errorf("%s is in %s (%s) already", p, p[:n], o)
			}
		}
	}
	for code := range strings.FieldsSeq(twoDigitCodes) {
		if seen[code] == "" {
			t.Errorf("nobody has the calling code %s", code)
		}
	}
}

func TestPremiums_everyPrefixOnceAndWithAReason(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range premiums {
		if seen[r.prefix] {
			t.Errorf("%s is there twice", r.prefix)
		}
		seen[r.prefix] = true
		if !numeric(strings.ReplaceAll(r.prefix, ".", "0")) || r.prefix[0] == '.' || len(r.prefix) < 3 {
			t.Errorf("%q is no prefix", r.prefix)
		}
		// The reason of a national range begins with whose it is.
		if country := Country(strings.ReplaceAll(r.prefix, ".", "2")); r.why != "" && country != "" && r.prefix[0] != '1' &&
			!strings.HasPrefix(r.why, country) {
			t.Errorf("%s is a range of %s, the reason says %q", r.prefix, country, r.why)
		}
		if r.why == "" && !slices.ContainsFunc(premiums, func(o struct{ prefix, why string }) bool {
			return o.why != "" && len(o.prefix) < len(r.prefix) && matches(r.prefix, o.prefix)
		}) {
			t.Errorf("%s is taken out of nothing", r.prefix)
		}
	}
}
