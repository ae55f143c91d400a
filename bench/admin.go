package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	pageSize  = 50  // users on a page
	walkPages = 200 // of one walk, which then begins anew
)

// page is GET /admin/users with the number of a page that was not asked for
// before it.
func page(c *caller) error {
	_, err := c.list(fmt.Sprintf("/admin/users?page=%d&per_page=%d", 1+rand.Int64N(c.d.pages), pageSize))
	return err
}

// walk goes from page to page as the answers say, which leaves it to the server
// how the next page is found.
func walk(c *caller) error {
	if c.link == "" || c.walked >= min(walkPages, c.d.pages) {
		c.link, c.walked = fmt.Sprintf("/admin/users?per_page=%d", pageSize), 0
	}
	a, err := c.list(c.link)
	if err != nil {
		c.link = ""
		return err
	}
	c.walked++
	c.link = nextPage(a.link, c.d.to.base)
	if c.link == "" && c.walked < min(walkPages, c.d.pages) {
		return fmt.Errorf("page %d of %d has no link to the next, only %q", c.walked, c.d.pages, a.link)
	}
	return nil
}

// list gets one whole page.
func (c *caller) list(path string) (answer, error) {
	c.request = c.d.to.appendGet(c.request[:0], path, c.d.operator)
	a, err := c.conn.do(c.request)
	if err != nil {
		return a, err
	}
	if a.status != 200 {
		return a, refused(a)
	}
	if n := bytes.Count(a.body, []byte(`"created_at":`)); n < pageSize {
		return a, fmt.Errorf("GET %s gave %d users, not %d", path, n, pageSize)
	}
	return a, nil
}

// nextPage returns where the rel="next" of a Link header (RFC 8288 §3) points,
// as a path below base; empty when there is none.
func nextPage(header, base string) string {
	for header != "" {
		open := strings.IndexByte(header, '<')
		end := strings.IndexByte(header, '>')
		if open < 0 || end < open {
			return ""
		}
		target := header[open+1 : end]
		// A comma inside a target is not the end of a link, hence the search from
		// the bracket on.
		parameters, rest, _ := strings.Cut(header[end+1:], ",")
		for p := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if strings.EqualFold(name, "rel") && strings.Trim(value, `"`) == "next" {
				if _, after, ok := strings.Cut(target, "://"); ok {
					_, path, _ := strings.Cut(after, "/")
					target = "/" + path
				}
				return strings.TrimPrefix(target, base)
			}
		}
		header = rest
	}
	return ""
}
