package social

import "context"

// githubProfile: the list of addresses says which is primary and which verified
// (docs.github.com/rest/users/emails). The one in the profile is what somebody
// chose to show, or nothing.
func githubProfile(ctx context.Context, v *visit) (person, error) {
	u, err := v.object(ctx, v.apiBase+"/user", v.Access, nil)
	if err != nil {
		return person{}, err
	}
	p := person{
		subject: u.id("id"), name: orElse(u.text("name"), u.text("login")), username: u.text("login"), avatar: u.text("avatar_url"),
	}
	body, err := v.get(ctx, v.apiBase+"/user/emails", v.Access, nil)
	switch {
	case KindOf(err) == Unavailable:
		return person{}, err
	case err != nil:
		return p, nil //nolint:nilerr // an app without that permission gets 403 or 404: then there is no address
	}
	var list []any
	if err := readJSON(body, &list); err != nil {
		return person{}, failed("the addresses of github: %w", err)
	}
	p.email, p.proved = primary(list, "primary", "verified")
	return p, nil
}
