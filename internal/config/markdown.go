package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Markdown is docs/config.md: every setting with its type, default, other
// names and meaning, from the tags of Config.
func Markdown() []byte {
	var b bytes.Buffer
	b.WriteString(preface)
	root := reflect.TypeFor[Config]()
	all, who := settings(), scopes()
	marks := map[scope]string{operator: "; *house*", ownOnly: "; *own*"}
	for i := range root.NumField() {
		section := root.Field(i)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", section.Tag.Get("title"), section.Tag.Get("help"))
		b.WriteString("| Setting | Type | Default | Also | Meaning |\n| --- | --- | --- | --- | --- |\n")
		for _, s := range all {
			if s.index[0] == i {
				fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s | %s |\n", s.name, s.kind(), marks[who[s.name]], code(s.fallback), s.also(), cell(s.help))
			}
		}
	}
	b.WriteString("\n## Not supported yet\n\nSettings of the two GoTrue servers that Gatehouse knows by name. " +
		"`{A,B}` stands for A and for B. False, 0 for what is true or false, and an empty value are what happens anyway, and pass in silence.\n")
	toCome(&b, true, "These would keep somebody out, or take part in letting people in. Turned on, each is a fault: "+
		"the server does not start with a door open that you believe shut. Take one out only if you can do without it.")
	toCome(&b, false, "Each of these gives a warning at the start when it is set, and is otherwise ignored.")
	b.WriteString("\n## Known names that do nothing here, and why\n\nThese will not be built. Each gives a warning at the start " +
		"when it is set; one that would keep somebody out is a fault then.\n\n| Setting | Why | When set |\n| --- | --- | --- |\n")
	for _, line := range unbuiltLines() {
		if line.never != "" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", line.pattern, cell(line.never), map[bool]string{true: "fault", false: "warning"}[line.door])
		}
	}
	return b.Bytes()
}

func toCome(b *bytes.Buffer, door bool, intro string) {
	fmt.Fprintf(b, "\n%s\n\n", intro)
	for _, line := range unbuiltLines() {
		if line.door == door && line.never == "" {
			fmt.Fprintf(b, "- `%s`\n", line.pattern)
		}
	}
}

const preface = `# Settings

<!-- Made from internal/config; change the tags there and run: go test ./internal/config -run TestMarkdown -update -->

Every setting is read from the environment, else from the file ` + "`.env`" + `, else from the file ` + "`gatehouse.yaml`" + `.
With nothing set at all you get a server for development on your own machine.

- **Names.** Setting ` + "`X`" + ` is read as ` + "`GATEHOUSE_X`" + `, else as ` + "`GOTRUE_X`" + `, so that the settings of the two GoTrue servers
  work unchanged. Names under *Also* are read in the same way after the setting's own name; those marked *bare* are read
  without a prefix too, after all others. The environment beats a file whatever the prefix. Two names for one setting with
  different values in the same place give a warning that tells which one wins; a name and its opposite are a fault then.
- **Empty** counts as set, and means the default: an empty variable in the environment takes back what a file says.
- **Durations** are Go durations, such as ` + "`90s`" + `, ` + "`10m`" + ` or ` + "`24h`" + `. **Seconds** are a number of seconds, or a duration.
  **Lists** are separated by commas.
- **` + "`.env`" + `** has lines ` + "`KEY=VALUE`" + ` with full names. ` + "`#`" + ` begins a comment, ` + "`export`" + ` may stand before the name. Single quotes take
  a value as it is; double quotes know ` + "`\\n` `\\r` `\\t` `\\\\` `\\\"` `\\$`" + `. Nothing is expanded.
- **` + "`gatehouse.yaml`" + `** is a tree whose keys, joined by ` + "`_`" + ` and in upper case, give ` + "`X`" + `: ` + "`mailer: {autoconfirm: true}`" + ` is
  ` + "`MAILER_AUTOCONFIRM`" + `. Names may be written whole, and lists as lists.
- **Tenants.** What is marked *house* is set by the operator, for all tenants. What is marked *own* each tenant has of its own or not at
  all, whatever the server has. All else is the server's until a tenant sets it.
- **Faults.** The server tells every fault at once and refuses to start. The value of a
  secret is never shown.
`

// kind is the type of a setting, for people.
func (s setting) kind() string {
	if s.oneOf != nil {
		var all []string
		for _, w := range s.oneOf {
			if w != "" {
				all = append(all, code(w))
			}
		}
		return strings.Join(all, ", ")
	}
	kind := "text"
	switch s.typ {
	case reflect.TypeFor[Secret]():
		kind = "secret"
	case reflect.TypeFor[Seconds]():
		kind = "seconds"
	case reflect.TypeFor[time.Duration]():
		kind = "duration"
	case reflect.TypeFor[bool](), reflect.TypeFor[Answer]():
		kind = "true or false"
	case reflect.TypeFor[int](), reflect.TypeFor[float64]():
		kind = "number"
	case reflect.TypeFor[[]string](), reflect.TypeFor[CharacterSets]():
		kind = "list"
	case reflect.TypeFor[Level]():
		kind = "level"
	case reflect.TypeFor[Instant]():
		kind = "moment"
	case reflect.TypeFor[Rate]():
		kind = "rate"
	case reflect.TypeFor[MailHeaders]():
		kind = "JSON"
	case reflect.TypeFor[PEM]():
		kind = "PEM"
	}
	switch {
	case s.max != "":
		kind += ", " + s.min + " to " + s.max
	case s.min != "" && s.min != "0":
		kind += ", " + s.min + " or more"
	}
	return kind
}

func (s setting) also() string {
	var all []string
	for _, a := range s.aliases {
		all = append(all, code(a))
	}
	if s.negated != "" {
		all = append(all, code(s.negated)+" (the opposite)")
	}
	if s.bare != "" {
		all = append(all, code(s.bare)+" (bare)")
	}
	return strings.Join(all, ", ")
}

func code(v string) string {
	if v == "" {
		return ""
	}
	return "`" + v + "`"
}

// cell keeps Markdown from reading a help text as markup.
func cell(v string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "<", "&lt;").Replace(v)
}
