package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree reads the text of gatehouse.yaml. The keys on the way to a value,
// joined by _ and in upper case, are its name: mailer: {autoconfirm: true} is
// MAILER_AUTOCONFIRM. A name may also be written whole, with or without its
// prefix. A key without a value counts as not there.
func tree(name, content string, r *Report) []entry {
	dec := yaml.NewDecoder(bytes.NewReader([]byte(content)))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // empty, or comments only
	}
	if err == nil {
		if err = dec.Decode(&more); err == nil {
			r.fault(fmt.Sprintf("%s:%d", name, more.Line), "a second document begins here", "keep all settings in one document")
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		// The parser's own words are left out: they quote the file ("unknown
		// anchor 'hunter2' referenced"), and what it trips over may be a secret.
		if line := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(err.Error()); line != nil {
			name += ":" + line[1]
		}
		r.fault(name, "it is not YAML, here or shortly before", "check indentation and colons, and quote values that begin with * & ! @ % { or [")
		return nil
	}
	t := treeReader{file: name, report: r}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Tag == "!!null" {
			return nil
		}
		r.fault(t.place(root), "the file is not a tree of settings", "write lines like port: 8081")
		return nil
	}
	t.read(root, nil)
	return t.entries
}

type treeReader struct {
	file    string
	report  *Report
	entries []entry
}

func (t *treeReader) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d", t.file, n.Line) }

func (t *treeReader) read(n *yaml.Node, path []string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || !isName(key.Value) {
			t.report.fault(t.place(key), "this key is not a name", "write letters, digits and _ only")
			continue
		}
		at := append(path[:len(path):len(path)], key.Value)
		shown := strings.Join(at, ".")
		e := entry{shown: shown, place: t.place(key), key: strings.ToUpper(strings.Join(at, "_"))}
		if !strings.HasPrefix(e.key, ours) && !strings.HasPrefix(e.key, theirs) {
			e.key = ours + e.key
		}
		switch {
		case value.Kind == yaml.MappingNode:
			t.read(value, at)
		case value.Kind == yaml.SequenceNode:
			e.list = []string{}
			for _, item := range value.Content {
				if item.Kind != yaml.ScalarNode {
					t.report.fault(shown, "the list holds more than plain values ("+t.place(item)+")", "write plain values; write JSON as one text in quotes")
					e.list = nil
					break
				}
				e.list = append(e.list, item.Value)
			}
			if e.list != nil {
				t.entries = append(t.entries, e)
			}
		case value.Kind == yaml.AliasNode:
			t.report.fault(shown, "anchors and aliases are not read ("+t.place(value)+")", "write the value out, in quotes if it begins with *")
		case value.Tag == "!!null":
		default:
			e.value = value.Value
			t.entries = append(t.entries, e)
		}
	}
}
