package config

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The prefixes of every setting's name. GOTRUE_ lets settings of the two
// servers Gatehouse stands in for work unchanged.
const (
	ours   = "GATEHOUSE_"
	theirs = "GOTRUE_"
)

// Source is where settings come from.
type Source struct {
	// Environ is the environment as os.Environ gives it, KEY=VALUE. Of several
	// lines for one key the last counts, as in os/exec.
	Environ []string
	// Dir is the folder whose files .env and gatehouse.yaml are read, each only
	// if it is there. Empty is the working folder.
	Dir string
}

// entry is one value as one source has it.
type entry struct {
	key   string   // the name with its prefix, in the spelling of the environment
	shown string   // the name as the operator wrote it
	place string   // file:line; empty for the environment
	value string   // not used when list is set
	list  []string // a list, from gatehouse.yaml

	negated bool // the name means the opposite of its setting; value is turned round already
}

// where is the place to append to a problem, empty for the environment.
func (e entry) where() string {
	if e.place == "" {
		return ""
	}
	return " (" + e.place + ")"
}

// Load reads every setting: from the environment, else from .env, else from
// gatehouse.yaml; within one of these from GATEHOUSE_X, else GOTRUE_X, else,
// for a few, X. A name that is set but empty counts as set, and means the
// default: so the environment can also take back what a file says.
//
// Both results are never nil. With faults in the report the Config must not
// be used to serve.
func Load(src Source) (*Config, *Report) {
	b, r := LoadBase(src)
	return b.Config, r
}

// LoadBase is Load for a server that has tenants: what it returns makes their
// settings, too.
func LoadBase(src Source) (*Base, *Report) {
	r := &Report{}
	sources := [][]entry{
		environment(src.Environ),
		dotEnv(".env", file(src.Dir, ".env", r), r),
		tree("gatehouse.yaml", file(src.Dir, "gatehouse.yaml", r), r),
	}
	all, later := settings(), unbuilt()
	given := pick(sources, append(all[:len(all):len(all)], later...), r)
	told := read(given, src.Dir, r)
	unknown(sources, all, later, r)
	slices.SortStableFunc(r.Warnings[told.warnings:], func(a, b Note) int { return strings.Compare(a.Name, b.Name) })
	return &Base{Config: told.Config, given: given, dir: src.Dir}, r
}

// outcome is what read made of entries.
type outcome struct {
	*Config
	warnings int // how many there were before those of names alone
}

// read makes a Config of the entries that count.
func read(given map[string]entry, dir string, r *Report) outcome {
	all, later := settings(), unbuilt()
	k := &checker{Config: &Config{}, Report: r, dir: dir, given: given, bad: map[string]bool{}}
	r.at = k.at
	values := map[string]string{}
	for name, e := range k.given {
		values[name] = e.value
	}
	errs := map[string]error{}
	parse(k.Config, values, all, func(s setting, err error) { errs[s.name] = err })
	root := reflect.ValueOf(k.Config).Elem()
	for _, s := range all {
		err := errs[s.name]
		if err == nil {
			err = s.keep(root.FieldByIndex(s.index))
		}
		if err != nil {
			k.refused(s.name, err)
		}
	}
	k.all()
	out := outcome{k.Config, len(r.Warnings)}
	k.unbuilt(later)
	return out
}

func environment(environ []string) []entry {
	var entries []entry
	for _, kv := range environ {
		if key, value, ok := strings.Cut(kv, "="); ok {
			entries = append(entries, entry{key: key, shown: key, value: value})
		}
	}
	return entries
}

// file is the content of dir/name, empty when there is no such file.
func file(dir, name string, r *Report) string {
	const most = 1 << 20 // nobody writes this much by hand: it is another file
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		r.fault(name, "it cannot be read: "+err.Error(), "let the server's user read it, or take it away")
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		r.fault(name, "it cannot be read: "+err.Error(), "let the server's user read it, or take it away")
		return ""
	case len(b) > most:
		r.fault(name, "it is larger than a mebibyte", "look whether it is the right file")
		return ""
	}
	return string(b)
}

// pick finds the entry that counts for each setting, by X.
func pick(sources [][]entry, all []setting, r *Report) map[string]entry {
	given := map[string]entry{}
	for _, entries := range sources {
		byKey := map[string]entry{}
		for _, e := range entries {
			if old, twice := byKey[e.key]; twice && e.place != "" && of(e.key) != "" {
				r.warn(e.shown, "it is set twice ("+old.place+" and "+e.place+"), the last counts", "take one out")
			}
			byKey[e.key] = e
		}
		for _, s := range all {
			if _, found := given[s.name]; found {
				continue
			}
			if es := s.among(byKey); len(es) > 0 {
				given[s.name] = es[0]
				s.compare(es, r)
			}
		}
	}
	return given
}

// among is every entry for s in one source, the one that counts first: our
// prefix before GoTrue's, the name itself before its aliases. Without any of
// these it is the name without prefix, because other programs use those too.
func (s setting) among(byKey map[string]entry) []entry {
	var es []entry
	for _, prefix := range []string{ours, theirs} {
		for _, name := range s.names() {
			e, ok := byKey[prefix+name]
			if !ok {
				continue
			}
			if e.list != nil {
				e.value = s.joined(e.list)
			}
			if b, err := strconv.ParseBool(e.value); err == nil && name == s.negated {
				e.value = strconv.FormatBool(!b)
			}
			e.negated = name == s.negated
			es = append(es, e)
		}
	}
	if e, ok := byKey[s.bare]; ok && s.bare != "" && es == nil {
		es = []entry{e}
	}
	return es
}

// compare tells of entries in one source that lose against another value of
// the first. A name and its opposite that contradict each other are a fault:
// no order of names says whether that door shall be open.
func (s setting) compare(es []entry, r *Report) {
	const mend = "take one of them out"
	text := func(e entry) string { return cmp.Or(strings.TrimSpace(e.value), s.fallback) }
	first := es[0]
	for _, e := range es[1:] {
		if strings.TrimSpace(e.value) == "" || text(e) == text(first) {
			continue
		}
		a, errA := strconv.ParseBool(text(first))
		b, errB := strconv.ParseBool(text(e))
		truths := (s.typ == reflect.TypeFor[bool]() || s.typ == reflect.TypeFor[Answer]()) && errA == nil && errB == nil
		switch {
		case truths && a == b:
		case truths && e.negated != first.negated:
			r.fault(e.shown, "it contradicts "+first.shown+e.where(), mend)
		default:
			r.warn(e.shown, "it differs from "+first.shown+", which wins"+e.where(), mend)
		}
	}
}

// joined writes a list from gatehouse.yaml as the environment would have it.
func (s setting) joined(list []string) string {
	if s.typ != reflect.TypeFor[CharacterSets]() {
		return strings.Join(list, ",")
	}
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], ":", `\:`)
	}
	return strings.Join(list, ":")
}

// of is X when key has one of our prefixes, else empty.
func of(key string) string {
	for _, prefix := range []string{ours, theirs} {
		if x, ok := strings.CutPrefix(key, prefix); ok {
			return x
		}
	}
	return ""
}

// unknown warns, once for each name, of names that no setting reads. Those
// without a prefix are other programs' in the environment, and mistakes in a file.
func unknown(sources [][]entry, all, later []setting, r *Report) {
	var known, bare, unbuilt []string
	for _, s := range all {
		known, bare = append(known, s.names()...), append(bare, s.bare)
	}
	for _, s := range later {
		unbuilt = append(unbuilt, s.name)
	}
	told := map[string]bool{}
	for _, entries := range sources {
		for _, e := range entries {
			x := of(e.key)
			if x == "" && e.place != "" && slices.Contains(known, e.key) && !slices.Contains(bare, e.key) {
				r.warn(e.shown, "it has no prefix, ignored"+e.where(), "did you mean "+ours+e.key+"?")
			}
			if x == "" || told[e.key] || slices.Contains(known, x) || slices.Contains(unbuilt, x) {
				continue
			}
			told[e.key] = true
			mend := "see docs/config.md for all names"
			if near := nearest(x, known); near != "" {
				mend = "did you mean " + e.like(near) + "?"
			}
			r.warn(e.shown, "there is no such setting, ignored"+e.where(), mend)
		}
	}
}

// like writes another name the way e is written.
func (e entry) like(x string) string {
	switch {
	case strings.HasPrefix(e.shown, theirs):
		return theirs + x
	case strings.HasPrefix(e.shown, ours), e.place == "":
		return ours + x
	default:
		return strings.ToLower(x)
	}
}
