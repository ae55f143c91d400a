package config

import (
	"fmt"
	"strings"
)

// dotEnv reads the text of a .env file: lines KEY=VALUE, with an optional
// "export " before them, and comments from # on. A value may stand in single
// quotes, which take everything as it is, or in double quotes, where \n \r \t
// \\ \" \$ and \` are escapes. Nothing is expanded: $HOME is five letters.
// A line that cannot be read is a fault that tells its place but never its
// text, which may be a secret.
func dotEnv(name, content string, r *Report) []entry {
	var entries []entry
	content = strings.TrimPrefix(content, "\ufeff")
	for i, line := range strings.Split(content, "\n") {
		place := fmt.Sprintf("%s:%d", name, i+1)
		key, value, problem, mend := dotEnvLine(line)
		switch {
		case problem != "":
			r.fault(place, problem, mend)
		case key != "":
			entries = append(entries, entry{key: key, shown: key, value: value, place: place})
		}
	}
	return entries
}

// dotEnvLine reads one line. The key is empty when there is nothing in it.
func dotEnvLine(line string) (key, value, problem, mend string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", "", ""
	}
	if after, ok := strings.CutPrefix(line, "export"); ok && after != strings.TrimLeft(after, " \t") {
		line = strings.TrimLeft(after, " \t")
	}
	key, rest, ok := strings.Cut(line, "=")
	key = strings.TrimRight(key, " \t")
	if !ok {
		return "", "", "there is no = in this line", "write KEY=VALUE, or # before a comment"
	}
	if !isName(key) {
		return "", "", "what stands before = is not a name", "write letters, digits and _ only"
	}
	if strings.ContainsRune(rest, 0) {
		return "", "", "there is a NUL byte in this line", "save the file as plain text (UTF-8)"
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" || rest[0] != '\'' && rest[0] != '"' {
		return key, unquoted(rest), "", ""
	}
	value, rest, problem, mend = inQuotes(rest)
	if problem != "" {
		return "", "", problem, mend
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", "", "there is text after the closing quote", `put the whole value in quotes, and write \" for a quote inside double quotes`
	}
	return key, value, "", ""
}

// unquoted is a plain value without the comment after it. A # ends the value
// only after a space: it may well be part of a password.
func unquoted(v string) string {
	if strings.HasPrefix(v, "#") {
		return ""
	}
	for i := 1; i < len(v); i++ {
		if v[i] == '#' && (v[i-1] == ' ' || v[i-1] == '\t') {
			v = v[:i]
		}
	}
	return strings.TrimSpace(v)
}

// inQuotes reads the quoted value v begins with and returns what follows it.
func inQuotes(v string) (value, rest, problem, mend string) {
	const unclosed = "the quote is not closed on this line"
	if v[0] == '\'' {
		value, rest, ok := strings.Cut(v[1:], "'")
		if !ok {
			return "", "", unclosed, `close it with '`
		}
		return value, rest, "", ""
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			return b.String(), v[i+1:], "", ""
		case c == '\\' && i+1 < len(v):
			i++
			at := strings.IndexByte("nrt\\\"$`", v[i])
			if at < 0 {
				return "", "", "there is an unknown escape in double quotes", `write \\ for a backslash, or use single quotes`
			}
			b.WriteByte("\n\r\t\\\"$`"[at])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", unclosed, `close it with ", and write \n for a line break inside`
}

// isName reports whether v can be the name of an environment variable (POSIX
// XBD 8.1).
func isName(v string) bool {
	for i, c := range []byte(v) {
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return v != ""
}
