package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// masked is all that is ever printed of a secret that is set.
const masked = "***"

// Secret is a text that no log line, error or dump may show. Every way of
// printing it gives ***, whatever the verb; Reveal alone gives the text.
type Secret string

// Reveal is the secret itself. Hand it to what needs it, never to a message.
func (s Secret) Reveal() string { return string(s) }

// String is *** (fmt.Stringer).
func (s Secret) String() string { return masked }

// GoString is *** (fmt.GoStringer).
func (s Secret) GoString() string { return masked }

// Format writes *** for every verb, %x and %d too (fmt.Formatter).
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) }

// LogValue is *** (slog.LogValuer).
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalJSON is "***" (json.Marshaler).
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText is ***, for the encoders that know no JSON (encoding.TextMarshaler).
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// MarshalYAML is ***, because YAML encoders look at the kind before the text
// (yaml.Marshaler).
func (s Secret) MarshalYAML() (any, error) { return masked, nil }

// Seconds is a span of whole seconds, not negative. It is written as a number
// of seconds (3600), as GoTrue has it, or as a Go duration (1h).
type Seconds time.Duration

// Duration is the same span as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// Int is the number of seconds.
func (s Seconds) Int() int64 { return int64(time.Duration(s) / time.Second) }

// String is the span as Go writes durations, 1h0m0s.
func (s Seconds) String() string { return time.Duration(s).String() }

// UnmarshalText reads a number of seconds or a Go duration.
func (s *Seconds) UnmarshalText(text []byte) error {
	v := strings.TrimSpace(string(text))
	n, err := strconv.ParseInt(v, 10, 64)
	d := time.Duration(n) * time.Second
	if err != nil {
		if d, err = time.ParseDuration(v); err != nil {
			return refuse(quoted(v)+" is not a number of seconds", "write e.g. 3600")
		}
	} else if n > math.MaxInt64/int64(time.Second) {
		return refuse(quoted(v)+" seconds is more than can be counted", "write e.g. 3600")
	}
	switch {
	case d < 0 || n < 0:
		return refuse(quoted(v)+" is negative", "write e.g. 3600")
	case d%time.Second != 0:
		return refuse(quoted(v)+" is not a whole number of seconds", "write e.g. 3600")
	}
	*s = Seconds(d)
	return nil
}

// CharacterSets is a list of sets of characters, each set as one string. It is
// written with a colon between the sets; \: is a colon inside one. Empty sets
// vanish.
type CharacterSets []string

// UnmarshalText splits the text at its unescaped colons.
func (c *CharacterSets) UnmarshalText(text []byte) error {
	*c = nil
	var set strings.Builder
	end := func() {
		if set.Len() > 0 {
			*c = append(*c, set.String())
			set.Reset()
		}
	}
	for v := string(text); v != ""; v = v[1:] {
		switch {
		case strings.HasPrefix(v, `\:`):
			set.WriteByte(':')
			v = v[1:]
		case v[0] == ':':
			end()
		default:
			set.WriteByte(v[0])
		}
	}
	end()
	return nil
}

// Answer is "true", "false", or empty when nobody gave one and something else
// decides.
type Answer string

// Or is the answer, or otherwise when there is none.
func (a Answer) Or(otherwise bool) bool {
	return a == "true" || a == "" && otherwise
}

// UnmarshalText reads what a setting that is true or false may be.
func (a *Answer) UnmarshalText(text []byte) error {
	b, err := parseBool(string(text))
	if err == nil {
		*a = Answer(strconv.FormatBool(b.(bool)))
	}
	return err
}

// Level is the least important log line that is written. It is a slog.Leveler.
type Level slog.Level

// Level is the same level for log/slog.
func (l Level) Level() slog.Level { return slog.Level(l) }

// String is the level in lower case, as it is written in settings.
func (l Level) String() string { return strings.ToLower(slog.Level(l).String()) }

// UnmarshalText reads debug, info, warn, error, and the other words GoTrue
// takes: trace, warning, fatal, panic.
func (l *Level) UnmarshalText(text []byte) error {
	switch v := strings.ToLower(strings.TrimSpace(string(text))); v {
	case "trace", "debug":
		*l = Level(slog.LevelDebug)
	case "info":
		*l = Level(slog.LevelInfo)
	case "warn", "warning":
		*l = Level(slog.LevelWarn)
	case "error", "fatal", "panic":
		*l = Level(slog.LevelError)
	default:
		return refuse(quoted(string(text))+" is not a log level", "write debug, info, warn or error")
	}
	return nil
}

// refusal is why a value cannot be taken, and what to write instead.
type refusal struct{ problem, mend string }

func (r *refusal) Error() string { return r.problem + "; " + r.mend }

func refuse(problem, mend string) error { return &refusal{problem, mend} }

// quoted is a value as a fault shows it, cut when it is long.
func quoted(v string) string {
	const most = 80
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return strconv.Quote(v)
}

// Instant is a moment, written as RFC 3339 has it; the zero value is none.
type Instant struct{ time.Time }

// UnmarshalText reads 2030-01-31T00:00:00Z.
func (i *Instant) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return refuse(quoted(string(text))+" is not a moment", "write e.g. 2030-01-31T00:00:00Z")
	}
	i.Time = t
	return nil
}

// Rate is at most so many in a window of time; the zero value is no limit.
type Rate struct {
	Most   int
	Window time.Duration
}

// UnmarshalText reads a number, which is for an hour, or a number and a
// duration: so many at once, and one more each time the duration has passed.
func (r *Rate) UnmarshalText(text []byte) error {
	bad := refuse(quoted(string(text))+" is not a rate", "write e.g. 30, or 30/10m")
	most, each, some := strings.Cut(strings.TrimSpace(string(text)), "/")
	n, err := strconv.ParseFloat(most, 64)
	if err != nil || n < 0 || n > 1e9 || math.IsNaN(n) {
		return bad
	}
	*r = Rate{Most: int(math.Ceil(n)), Window: time.Hour}
	if some {
		d, err := time.ParseDuration(each)
		if err != nil || d <= 0 || d > time.Duration(math.MaxInt64)/time.Duration(max(1, r.Most)) {
			return bad
		}
		r.Window = max(time.Second, time.Duration(r.Most)*d)
	}
	if r.Most == 0 {
		*r = Rate{}
	}
	return nil
}

// MailHeaders are headers by name, each with its values in order.
type MailHeaders map[string][]string

// UnmarshalText reads a JSON object of lists of texts. What may be a header is
// judged by who writes the mails.
func (h *MailHeaders) UnmarshalText(text []byte) error {
	var all map[string][]string
	if err := json.Unmarshal(text, &all); err != nil {
		// Without the parser's words: they quote the value, and some services
		// take their key in a header.
		return refuse("it is not a JSON object of lists of texts", `write e.g. {"X-Campaign":["auth"]}`)
	}
	*h = all
	return nil
}

// PEM is a text of lines. They may be broken by \n, written as two characters,
// because many places that settings are written in take one line alone.
type PEM string

// UnmarshalText takes the text as it is, but for its line breaks.
func (p *PEM) UnmarshalText(text []byte) error {
	*p = PEM(lines(string(text)))
	return nil
}

// lines makes line breaks of those that are written \n.
func lines(v string) string {
	return strings.TrimSpace(strings.NewReplacer(`\r`, "", `\n`, "\n").Replace(v))
}
