package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse_eachModeHasFlowsAndEnginesOfItsOwn(t *testing.T) {
	type choice struct {
		Mode           mode
		Flows, Engines string
	}
	for args, want := range map[string]choice{
		"":                             {oneServer, "user,refresh,signin,signup,storm,cold", engineNames},
		"-db postgres":                 {engines, "user,refresh,signin,signup", "postgres"},
		"-db sqlite,mysql -flows page": {engines, "page", "sqlite,mysql"},
		"-trips":                       {roundTrips, "user,refresh,signin", "postgres,mysql"},
		"-trips -db mysql":             {roundTrips, "user,refresh,signin", "mysql"},
		"-scale 1000,200":              {scale, "signin,refresh,user,page,walk", engineNames},
		"-load 7 -database sqlite:x":   {loading, "", engineNames},
	} {
		o, err := parse(strings.Fields(args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		got := choice{o.mode, strings.Join(o.flows, ","), strings.Join(o.engines, ",")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

func TestParse_sortsTheSizes(t *testing.T) {
	o, err := parse([]string{"-scale", "1000000,10000,500"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{500, 10000, 1000000}, o.sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestParse_refusesWhatDoesNotGoTogether(t *testing.T) {
	for args, want := range map[string]string{
		"-trips -scale 200,400":         "exclude each other",
		"-scale 200":                    "two sizes",
		"-scale 200,many":               `"many"`,
		"-scale 199,400":                `"199"`,
		"-scale 200,400 -flows storm":   `"storm"`,
		"-db oracle":                    `"oracle"`,
		"-db postgres -url http://x":    "-url",
		"-trips -db sqlite":             "SQLite",
		"-load 7":                       "-database",
		"-database sqlite:x":            "-load",
		"-load -1 -database sqlite:x":   "-load must",
		"-rounds 0":                     "-rounds",
		"-sample 3":                     "-sample",
		"-flows page":                   `"page"`,
		"-db postgres -flows user,cold": `"cold"`,
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to speak of %s", args, err, want)
		}
	}
}
