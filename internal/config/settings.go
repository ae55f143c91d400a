package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caarlos0/env/v11"
)

// setting is one leaf of Config, as its tags describe it.
type setting struct {
	name    string   // X, without prefix
	aliases []string // other names with prefix
	bare    string   // a name without prefix
	negated string   // a name with prefix that means the opposite

	fallback string // what an empty value means
	oneOf    []string
	min, max string
	check    string // the text check its values must pass, see texts.go
	help     string
	scope    scope  // who may set it
	restart  bool   // a server at work cannot take it over
	door     bool   // not built, and people may come in without it who should not
	never    string // why it will not be built

	index []int // of the field, from Config
	typ   reflect.Type
}

// names are all names that are read with a prefix, best first.
func (s setting) names() []string {
	names := append([]string{s.name}, s.aliases...)
	if s.negated != "" {
		names = append(names, s.negated)
	}
	return names
}

// settings lists every leaf of Config in its order. It is read from the tags
// once, for it is asked for with every tenant that is put to work, and nobody
// changes it.
var settings = sync.OnceValue(func() []setting {
	return leaves(reflect.TypeFor[Config](), nil, branch{help: "%s"})
})

// branch is what the leaves of a section have in common.
type branch struct {
	prefix, help string
	scope        scope
	restart      bool
}

func leaves(t reflect.Type, index []int, of branch) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		name, tagged := f.Tag.Lookup("env")
		who := of.scope
		if s, ok := f.Tag.Lookup("scope"); ok {
			who = scope(s)
		}
		restart := of.restart
		if s, ok := f.Tag.Lookup("reload"); ok {
			restart = s == "no"
		}
		if !tagged {
			within := "%s"
			if p := f.Tag.Get("envPrefix"); p != "" {
				within = f.Tag.Get("help")
			}
			all = append(all, leaves(f.Type, at, branch{of.prefix + f.Tag.Get("envPrefix"), within, who, restart})...)
			continue
		}
		all = append(all, setting{
			name:     of.prefix + name,
			scope:    who,
			restart:  restart,
			aliases:  words(f.Tag.Get("alias"), ","),
			bare:     f.Tag.Get("bare"),
			negated:  f.Tag.Get("negated"),
			fallback: f.Tag.Get("envDefault"),
			oneOf:    words(f.Tag.Get("oneof"), "|"),
			min:      f.Tag.Get("min"),
			max:      f.Tag.Get("max"),
			check:    f.Tag.Get("check"),
			help:     strings.Replace(of.help, "%s", f.Tag.Get("help"), 1),
			index:    at,
			typ:      f.Type,
		})
	}
	return all
}

func words(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

// parse reads values, by X, into c and calls failed for each that cannot be
// read.
func parse(c *Config, values map[string]string, all []setting, failed func(setting, error)) {
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		if env.ParseWithOptions(root.Field(i).Addr().Interface(), parsing(values)) == nil {
			continue
		}
		// The library names a failed field by its Go name alone, and providers
		// all have the same ones: so each is read by itself.
		n := 0
		for _, s := range all {
			if s.index[0] != i {
				continue
			}
			if err := s.parse(values); err != nil {
				failed(s, err)
				n++
			}
		}
		if n == 0 {
			panic(fmt.Sprintf("config: the tags of section %d are wrong", i))
		}
	}
}

// parse says why the value of one setting cannot be read.
func (s setting) parse(values map[string]string) error {
	alone := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value", Type: s.typ, Tag: reflect.StructTag("env:" + strconv.Quote(s.name)),
	}}))
	err := env.ParseWithOptions(alone.Interface(), parsing(values))
	var bad env.ParseError
	if many := (env.AggregateError{}); errors.As(err, &many) && len(many.Errors) == 1 && errors.As(many.Errors[0], &bad) {
		return bad.Err
	}
	return err
}

func parsing(values map[string]string) env.Options {
	return env.Options{
		Environment: values,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[bool]():          parseBool,
			reflect.TypeFor[int]():           parseInt,
			reflect.TypeFor[float64]():       parseFloat,
			reflect.TypeFor[time.Duration](): parseDuration,
			reflect.TypeFor[[]string]():      parseList,
		},
	}
}

func parseBool(v string) (any, error) {
	switch b, err := strconv.ParseBool(strings.TrimSpace(v)); {
	case err != nil:
		return nil, refuse(quoted(v)+" is neither true nor false", "write true or false")
	default:
		return b, nil
	}
}

func parseInt(v string) (any, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
	if err != nil {
		return nil, refuse(quoted(v)+" is not a whole number", "write digits only")
	}
	return int(n), nil
}

func parseFloat(v string) (any, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, refuse(quoted(v)+" is not a number", "write e.g. 30")
	}
	return f, nil
}

func parseDuration(v string) (any, error) {
	d, err := time.ParseDuration(strings.TrimSpace(v))
	if err != nil {
		return nil, refuse(quoted(v)+" is not a duration", "write e.g. 90s, 10m or 24h")
	}
	return d, nil
}

// parseList splits at commas. Spaces around an element are not part of it,
// and empty elements vanish.
func parseList(v string) (any, error) {
	var list []string
	for e := range strings.SplitSeq(v, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list, nil
}

// keep checks a value that could be read against the bounds, words and text
// checks of its setting, and brings a word to the spelling of its list.
func (s setting) keep(field reflect.Value) error {
	switch v := field.Interface().(type) {
	case int:
		return s.bounds(float64(v), strconv.Itoa(v), number)
	case float64:
		return s.bounds(v, strconv.FormatFloat(v, 'g', -1, 64), number)
	case Seconds:
		return s.bounds(float64(v.Int()), v.String(), number)
	case time.Duration:
		return s.bounds(float64(v), v.String(), span)
	case []string:
		for _, e := range v {
			if err := text(s.check, e); err != nil {
				return err
			}
		}
	case string:
		if s.oneOf != nil {
			return s.word(field)
		}
		if v != "" {
			return text(s.check, v)
		}
	}
	return nil
}

func number(bound string) float64 { f, _ := strconv.ParseFloat(bound, 64); return f }
func span(bound string) float64   { d, _ := time.ParseDuration(bound); return float64(d) }

func (s setting) bounds(v float64, shown string, read func(string) float64) error {
	low, high := s.min != "" && v < read(s.min), s.max != "" && v > read(s.max)
	switch {
	case !low && !high:
		return nil
	case s.max == "":
		return refuse(shown+" is too small", "write "+s.min+" or more")
	default:
		return refuse(shown+" is out of bounds", "write "+s.min+" to "+s.max)
	}
}

func (s setting) word(field reflect.Value) error {
	v := strings.TrimSpace(field.String())
	for _, w := range s.oneOf {
		if strings.EqualFold(v, w) {
			field.SetString(w)
			return nil
		}
	}
	allowed := strings.Join(s.oneOf, ", ")
	if s.oneOf[0] == "" {
		allowed = strings.Join(s.oneOf[1:], ", ") + ", or leave it empty"
	}
	return refuse(quoted(v)+" is not a word known here", "write "+allowed)
}
