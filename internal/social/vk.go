package social

import (
	"context"
	"net/url"
	"strings"
)

// vkVersion is that of VK's API whose answers are read here.
const vkVersion = "5.199"

// vkProfile: VK tells the address with the tokens, at sign-in only, and does not
// say that it is proved. Who it is, the API says; the user_id beside the tokens
// has to be the same.
func vkProfile(ctx context.Context, v *visit) (person, error) {
	q := url.Values{"v": {vkVersion}, "fields": {"photo_200,screen_name"}, "access_token": {v.Access}}
	u, err := v.object(ctx, v.userinfoAt+"?"+q.Encode(), "", nil)
	if err != nil {
		return person{}, err
	}
	if no := u.inner("error"); no != nil {
		// dev.vk.com/reference/errors
		switch no.id("error_code") {
		case "1", "6", "9", "10", "29":
			return person{}, &Error{Kind: Unavailable, Problem: problemUnavailable}
		}
		return person{}, &Error{Kind: Refused, Problem: problemRefused}
	}
	list, _ := u["response"].([]any)
	if len(list) != 1 {
		return person{}, failed("vk told of %d people", len(list))
	}
	m, _ := list[0].(map[string]any)
	c := claims(m)
	p := person{
		subject: c.id("id"), email: v.all.text("email"), given: c.text("first_name"), family: c.text("last_name"),
		username: c.text("screen_name"), avatar: c.text("photo_200"),
	}
	if id := v.all.id("user_id"); id != "" && id != p.subject {
		return person{}, badToken("the tokens of vk are of another user")
	}
	p.name = strings.TrimSpace(p.given + " " + p.family)
	return p, nil
}
