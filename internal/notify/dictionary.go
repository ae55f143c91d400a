package notify

import (
	"embed"
	htmltemplate "html/template"
	"io/fs"
	"path"
	"strings"
	"sync"
	texttemplate "text/template"
)

// templates/languages has the words of the built-in mails, a file for each
// language; the layouts have the looks of all of them.
//
//go:embed templates
var builtin embed.FS

// dictionary is all mails in one language.
type dictionary struct {
	subject, text map[Kind]*texttemplate.Template
	html          map[Kind]*htmltemplate.Template
	date          *texttemplate.Template
	months        []string // January first
}

// dictionaries returns what is built in, by language. It is one for all, since
// there may be Templates for every tenant.
var dictionaries = sync.OnceValue(func() map[string]*dictionary {
	all := map[string]*dictionary{}
	files, err := fs.Glob(builtin, "templates/languages/*.txt")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		all[strings.TrimSuffix(path.Base(file), ".txt")] = readDictionary(contents(file))
	}
	return all
})

// contents returns a file that is built in.
func contents(file string) string {
	raw, err := builtin.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// readDictionary joins words with the layouts. It panics where they do not
// parse, which only the programmer can mend.
func readDictionary(words string) *dictionary {
	all := texttemplate.Must(texttemplate.New("").Parse(words))
	d := &dictionary{
		subject: map[Kind]*texttemplate.Template{},
		text:    map[Kind]*texttemplate.Template{},
		html:    map[Kind]*htmltemplate.Template{},
		date:    all.Lookup("date"),
	}
	if t := all.Lookup("months"); t != nil {
		d.months = strings.Fields(t.Root.String())
	}
	html, text := contents("templates/layout.html"), contents("templates/layout.txt")
	for _, kind := range Kinds() {
		h := htmltemplate.Must(htmltemplate.New("mail").Parse(html))
		t := texttemplate.Must(texttemplate.New("mail").Parse(text))
		for name, from := range phrases(all, kind) {
			tree := from.Tree.Copy() // html/template writes its escaping into it
			htmltemplate.Must(h.AddParseTree(name, tree))
			texttemplate.Must(t.AddParseTree(name, from.Tree))
		}
		d.html[kind], d.text[kind], d.subject[kind] = h, t, t.Lookup("subject")
	}
	return d
}

// phrases returns what mails of kind say, by the name the layouts know it by.
func phrases(all *texttemplate.Template, kind Kind) map[string]*texttemplate.Template {
	group := "ask"
	if kind.notice() {
		group = "notice"
	}
	found := map[string]*texttemplate.Template{}
	for _, prefix := range []string{"", group, string(kind)} {
		for _, t := range all.Templates() {
			before, name, dotted := strings.Cut(t.Name(), ".")
			if !dotted {
				before, name = "", t.Name()
			}
			if before == prefix && t.Name() != "" {
				found[name] = t
			}
		}
	}
	return found
}
