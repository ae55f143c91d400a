package notify

import (
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// plain returns what page says, for readers without HTML: its text without
// tags, styles and scripts, white space collapsed, at most one blank line in a
// row, links as "text (URL)", or the URL alone where the text is that or
// nothing, pictures as their alternative text. It never fails; of a page
// without words nothing is left.
func plain(page string) string {
	var p paper
	hidden := "" // the element whose text nobody is shown
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		kind := z.Next()
		if kind == html.ErrorToken { // the end
			p.endLink()
			return p.out.String()
		}
		t := z.Token()
		switch {
		case hidden != "":
			if kind == html.EndTagToken && t.Data == hidden {
				hidden = ""
			}
		case kind == html.TextToken:
			p.write(t.Data)
		case kind == html.EndTagToken && t.Data == "a":
			p.endLink()
		case kind == html.EndTagToken:
			p.item = p.item && t.Data != "li"
			p.breakFor(t.Data)
		case kind == html.StartTagToken, kind == html.SelfClosingTagToken:
			switch t.Data {
			case "script", "style", "title", "noscript", "iframe", "noembed", "noframes":
				hidden = t.Data
			case "a":
				p.endLink() // one that was never closed: links do not nest
				p.startLink(attr(t, "href"))
			case "img":
				p.write(attr(t, "alt"))
			case "br":
				p.lines = min(p.lines+1, 2)
			case "li":
				p.breakFor(t.Data)
				p.item = true
			default:
				p.breakFor(t.Data)
			}
		}
	}
}

// paper is what plain writes on.
type paper struct {
	out   strings.Builder
	lines int    // line ends owed before the next word
	space bool   // a space owed before it
	item  bool   // a dash owed before it: it begins a point of a list
	url   string // where the link leads that is open; empty: none is
	from  int    // where in out its text begins
}

// write adds words. Line ends in s are but spaces, so that no name a user
// chose makes lines of its own.
func (p *paper) write(s string) {
	p.space = p.space || strings.TrimLeftFunc(s, unicode.IsSpace) != s
	for i, word := range strings.Fields(s) {
		p.space = p.space || i > 0
		switch {
		case p.out.Len() == 0:
		case p.lines > 0:
			p.out.WriteString("\n\n"[:p.lines])
		case p.space:
			p.out.WriteByte(' ')
		}
		if p.item {
			p.out.WriteString("- ")
		}
		p.lines, p.space, p.item = 0, false, false
		p.out.WriteString(word)
	}
	p.space = p.space || strings.TrimRightFunc(s, unicode.IsSpace) != s
}

// breakFor owes what the begin or end of an element asks for.
func (p *paper) breakFor(element string) {
	switch element {
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "blockquote", "pre", "hr", "figure":
		p.lines = 2
	case "div", "tr", "li", "dt", "dd", "section", "article", "header", "footer", "main", "address", "center", "body":
		p.lines = max(p.lines, 1)
	case "td", "th":
		p.space = true
	}
}

func (p *paper) startLink(href string) {
	// Browsers leave out line ends and tabs; a space would end the link early.
	href = strings.NewReplacer("\n", "", "\r", "", "\t", "", " ", "%20").Replace(strings.TrimSpace(href))
	low := strings.ToLower(href)
	for _, nowhere := range []string{"#", "javascript:", "data:", "vbscript:"} {
		if strings.HasPrefix(low, nowhere) {
			return
		}
	}
	p.url, p.from = href, p.out.Len()
}

// endLink adds where the open link leads, if its text does not say so.
func (p *paper) endLink() {
	url := p.url
	p.url = ""
	if url == "" {
		return
	}
	text := strings.TrimSpace(p.out.String()[p.from:])
	_, bare, _ := strings.Cut(url, ":") // of mailto: and tel:
	switch text {
	case url, bare:
	case "":
		p.write(url)
	default:
		// On the line of the text, whatever blocks ended within the link.
		lines, space := p.lines, p.space
		p.lines, p.space = 0, true
		p.write("(" + url + ")")
		p.lines, p.space = lines, space
	}
}

func attr(t html.Token, key string) string {
	for _, a := range t.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
