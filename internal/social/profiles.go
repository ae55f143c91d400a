package social

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
)

// What follows reads profiles of vendors' own shapes. Where an address is proved,
// the comment says who says so.

// googleClaims keeps the company's domain: "hd" in Google's document.
func googleClaims(_ *visit, c claims, p *person) { p.custom = c.pick("hd") }

// slackClaims keeps the workspace.
func slackClaims(_ *visit, c claims, p *person) {
	p.custom = c.pick("https://slack.com/team_id", "https://slack.com/user_id", "https://slack.com/team_domain")
}

// kakaoClaims: an ID token of Kakao's has a nickname, and an address without a
// word on whether it is proved.
func kakaoClaims(_ *visit, c claims, p *person) { p.name, p.username = p.nickname, p.nickname }

// vercelClaims: Vercel's names begin with user_. The subject is the account in
// one installation; the person is global_user_id, where there is one.
func vercelClaims(_ *visit, c claims, p *person) {
	p.email, p.name, p.avatar = c.text("user_email"), c.text("user_name"), c.text("user_avatar_url")
	if id := c.text("global_user_id"); id != "" {
		p.subject = "global_user_id:" + id
	}
	p.custom = c.pick("account_id", "installation_id", "user_role", "user_id")
}

// bitbucketProfile: is_confirmed of the primary address.
func bitbucketProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.apiBase+"/2.0/user", v.Access, nil)
	if err != nil {
		return person{}, err
	}
	p := person{
		subject: u.text("uuid"), name: u.text("display_name"), username: orElse(u.text("username"), u.text("nickname")),
		avatar: u.inner("links", "avatar").text("href"),
	}
	list, err := v.object(ctx, v.apiBase+"/2.0/user/emails", v.Access, nil)
	switch {
	case KindOf(err) == Unavailable:
		return person{}, err
	case err != nil:
		return p, nil //nolint:nilerr // the scope was not granted: then there is no address
	}
	values, _ := list["values"].([]any)
	p.email, p.proved = primary(values, "is_primary", "is_confirmed")
	return p, nil
}

// primary finds the address an account goes by in a list of them: the first that
// is marked so and proved, or the first that is marked so.
func primary(list []any, marked, proved string) (string, bool) {
	var unproved string
	for _, e := range list {
		m, _ := e.(map[string]any)
		c := claims(m)
		switch {
		case !c.yes(marked):
		case c.yes(proved):
			return c.text("email"), true
		case unproved == "":
			unproved = c.text("email")
		}
	}
	return unproved, false
}

// discordProfile: "verified".
func discordProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	if err != nil {
		return person{}, err
	}
	p := person{
		subject: u.text("id"), email: u.text("email"), proved: u.yes("verified"),
		name: orElse(u.text("global_name"), u.text("username")), username: u.text("username"), custom: u.pick("global_name", "discriminator"),
	}
	if picture := u.text("avatar"); picture != "" {
		p.avatar = "https://cdn.discordapp.com/avatars/" + url.PathEscape(p.subject) + "/" + url.PathEscape(picture) + ".png"
	}
	return p, nil
}

// facebookProfile: the Graph API gives the primary address, and leaves out one
// that is not valid; GoTrue has always taken it for proved.
func facebookProfile(ctx context.Context, v *visit) (person, error) {
	q := url.Values{"fields": {"id,email,first_name,last_name,name,picture"}}
	if v.s.Secret != "" {
		// It shows that the token is used by the app it was made for.
		mac := hmac.New(sha256.New, []byte(v.s.Secret))
		mac.Write([]byte(v.Access))
		q.Set("appsecret_proof", hex.EncodeToString(mac.Sum(nil)))
	}
	u, err := v.object(ctx, v.apiBase+"/me?"+q.Encode(), v.Access, nil)
	if err != nil {
		return person{}, err
	}
	p := person{
		subject: u.id("id"), email: u.text("email"), proved: u.text("email") != "",
		name: u.text("name"), given: u.text("first_name"), family: u.text("last_name"), avatar: u.inner("picture", "data").text("url"),
	}
	p.nickname, p.slug = p.name, p.name
	return p, nil
}

// figmaProfile: nothing is said.
func figmaProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	return person{subject: u.id("id"), email: u.text("email"), name: u.text("handle"), username: u.text("handle"), avatar: u.text("img_url")}, err
}

// flyProfile: nothing is said.
func flyProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	return person{
		subject: u.id("user_id"), email: u.text("email"), name: u.text("user_name"),
		custom: u.pick("resource_owner_id", "organizations", "application", "scope"),
	}, err
}

// gitlabProfile: confirmed_at is when the primary address was.
func gitlabProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	return person{
		subject: u.id("id"), email: u.text("email"), proved: u.text("confirmed_at") != "",
		name: u.text("name"), username: u.text("username"), avatar: u.text("avatar_url"), website: u.text("website_url"),
	}, err
}

// kakaoProfile: is_email_valid (nobody else has it by now) and is_email_verified.
func kakaoProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	a := u.inner("kakao_account")
	who := a.inner("profile")
	return person{
		subject: u.id("id"), email: a.text("email"), proved: a.yes("is_email_valid") && a.yes("is_email_verified"),
		name: who.text("nickname"), username: who.text("nickname"), avatar: who.text("profile_image_url"),
	}, err
}

// linkedinProfile: nothing is said.
func linkedinProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.apiBase+"/v2/me?"+url.Values{
		"projection": {"(id,firstName,lastName,profilePicture(displayImage~:playableStreams))"},
	}.Encode(), v.Access, nil)
	if err != nil {
		return person{}, err
	}
	p := person{subject: u.text("id"), given: localized(u.inner("firstName")), family: localized(u.inner("lastName"))}
	if elements, ok := u.inner("profilePicture", "displayImage~")["elements"].([]any); ok && len(elements) > 0 {
		m, _ := elements[len(elements)-1].(map[string]any)
		if ids, ok := m["identifiers"].([]any); ok && len(ids) > 0 {
			m, _ = ids[0].(map[string]any)
			p.avatar = claims(m).text("identifier")
		}
	}
	list, err := v.object(ctx, v.apiBase+"/v2/emailAddress?"+url.Values{"q": {"members"}, "projection": {"(elements*(handle~))"}}.Encode(), v.Access, nil)
	switch {
	case KindOf(err) == Unavailable:
		return person{}, err
	case err != nil:
		return p, nil //nolint:nilerr // the scope was not granted: then there is no address
	}
	if elements, ok := list["elements"].([]any); ok && len(elements) > 0 {
		m, _ := elements[0].(map[string]any)
		p.email = claims(m).inner("handle~").text("emailAddress")
	}
	return p, nil
}

// localized reads LinkedIn's MultiLocaleString.
func localized(c claims) string {
	where := c.inner("preferredLocale")
	return c.inner("localized").text(where.text("language") + "_" + where.text("country"))
}

// notionProfile: nothing is said.
func notionProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, map[string]string{"Notion-Version": "2022-06-28"})
	who := u.inner("bot", "owner", "user")
	return person{subject: who.text("id"), email: who.inner("person").text("email"), name: who.text("name"), username: who.text("name"), avatar: who.text("avatar_url")}, err
}

// slackProfile: nothing is said. A user's id is one of its workspace, so the
// workspace is part of the issuer.
func slackProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	if err != nil {
		return person{}, err
	}
	if !u.yes("ok") {
		return person{}, slackSays(u)
	}
	who, team := u.inner("user"), u.inner("team")
	if team.text("id") == "" {
		return person{}, failed("slack does not say of which workspace")
	}
	return person{
		issuer: v.iss + "/" + team.text("id"), subject: who.text("id"), email: who.text("email"), name: who.text("name"),
		avatar: orElse(who.text("image_512"), who.text("image_192")), custom: map[string]any{"https://slack.com/team_id": team.text("id")},
	}, nil
}

// snapchatProfile: nothing is said, and an address seldom told.
func snapchatProfile(ctx context.Context, v *visit) (person, error) {
	at := v.userinfoAt + "?" + url.Values{"query": {"{me{externalId displayName bitmoji{avatar id}}}"}}.Encode()
	u, err := v.object(ctx, at, v.Access, nil)
	me := u.inner("data", "me")
	return person{subject: me.text("externalId"), name: me.text("displayName"), avatar: me.inner("bitmoji").text("avatar"), slug: me.text("displayName")}, err
}

// spotifyProfile: "there is no proof that it actually belongs to the user".
func spotifyProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	p := person{subject: u.text("id"), email: u.text("email"), name: u.text("display_name")}
	if images, ok := u["images"].([]any); ok && len(images) > 0 {
		m, _ := images[0].(map[string]any)
		p.avatar = claims(m).text("url")
	}
	return p, err
}

// twitchProfile: the field is documented as the verified address.
func twitchProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, map[string]string{"Client-Id": v.s.ClientIDs[0]})
	if err != nil {
		return person{}, err
	}
	list, _ := u["data"].([]any)
	if len(list) != 1 {
		return person{}, failed("twitch told of %d people", len(list))
	}
	m, _ := list[0].(map[string]any)
	c := claims(m)
	return person{
		subject: c.text("id"), email: c.text("email"), proved: c.text("email") != "",
		name: orElse(c.text("display_name"), c.text("login")), nickname: c.text("display_name"), username: c.text("login"), slug: c.text("login"),
		avatar: c.text("profile_image_url"), custom: c.pick("broadcaster_type", "type"),
	}, nil
}

// workosProfile: nothing is said; it is the word of whoever runs the company's
// directory.
func workosProfile(ctx context.Context, v *visit) (person, error) {
	u := v.all.inner("profile")
	if u == nil {
		var err error
		if u, err = v.object(ctx, v.userinfoAt, v.Access, nil); err != nil {
			return person{}, err
		}
	}
	p := person{
		subject: u.text("id"), email: u.text("email"), given: u.text("first_name"), family: u.text("last_name"),
		custom: u.pick("connection_id", "connection_type", "organization_id", "idp_id"),
	}
	p.avatar = u.inner("raw_attributes").text("picture")
	return p, nil
}

// xProfile: confirmed_email.
func xProfile(ctx context.Context, v *visit) (person, error) {
	at := v.userinfoAt + "?" + url.Values{"user.fields": {"confirmed_email,id,name,profile_image_url,url,username,verified"}}.Encode()
	u, err := v.object(ctx, at, v.Access, nil)
	c := u.inner("data")
	return person{
		subject: c.text("id"), email: c.text("confirmed_email"), proved: c.text("confirmed_email") != "",
		name: c.text("name"), username: c.text("username"), slug: c.text("username"), avatar: c.text("profile_image_url"), website: c.text("url"),
	}, err
}

// zoomProfile: verified is 1 of an account whose address was.
func zoomProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	return person{
		subject: u.text("id"), email: u.text("email"), proved: u.id("verified") == "1",
		given: u.text("first_name"), family: u.text("last_name"), avatar: u.text("pic_url"), custom: u.pick("account_id"),
	}, err
}

// slackSays is what Slack means by an answer that is not ok, which comes with the
// status 200.
func slackSays(u claims) error {
	switch u.text("error") {
	case "internal_error", "fatal_error", "ratelimited", "service_unavailable", "request_timeout":
		return &Error{Kind: Unavailable, Problem: problemUnavailable}
	}
	return &Error{Kind: Refused, Problem: problemRefused}
}
