package gotrue

import (
	"encoding/json"
	"time"

	"gatehouse/internal/auth"
)

// user is a user as both families read it. Wire types never leave this
// package.
type user struct {
	ID                     string          `json:"id"`
	Aud                    string          `json:"aud"`
	Role                   string          `json:"role"`
	Email                  string          `json:"email"`
	EmailConfirmedAt       time.Time       `json:"email_confirmed_at,omitzero"`
	InvitedAt              time.Time       `json:"invited_at,omitzero"`
	Phone                  string          `json:"phone"`
	PhoneConfirmedAt       time.Time       `json:"phone_confirmed_at,omitzero"`
	ConfirmationSentAt     time.Time       `json:"confirmation_sent_at,omitzero"`
	ConfirmedAt            time.Time       `json:"confirmed_at,omitzero"`
	RecoverySentAt         time.Time       `json:"recovery_sent_at,omitzero"`
	NewEmail               string          `json:"new_email,omitempty"`
	EmailChangeSentAt      time.Time       `json:"email_change_sent_at,omitzero"`
	NewPhone               string          `json:"new_phone,omitempty"`
	PhoneChangeSentAt      time.Time       `json:"phone_change_sent_at,omitzero"`
	ReauthenticationSentAt time.Time       `json:"reauthentication_sent_at,omitzero"`
	LastSignInAt           time.Time       `json:"last_sign_in_at,omitzero"`
	AppMetadata            json.RawMessage `json:"app_metadata"`
	UserMetadata           json.RawMessage `json:"user_metadata"`
	Identities             []identity      `json:"identities"`
	CreatedAt              time.Time       `json:"created_at"`
	UpdatedAt              time.Time       `json:"updated_at"`
	BannedUntil            time.Time       `json:"banned_until,omitzero"`
	DeletedAt              time.Time       `json:"deleted_at,omitzero"`
	IsAnonymous            bool            `json:"is_anonymous"`
}

type identity struct {
	IdentityID   string          `json:"identity_id"`
	ID           string          `json:"id"` // the provider's subject
	UserID       string          `json:"user_id"`
	IdentityData json.RawMessage `json:"identity_data"`
	Provider     string          `json:"provider"`
	LastSignInAt time.Time       `json:"last_sign_in_at,omitzero"`
	CreatedAt    time.Time       `json:"created_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
	Email        string          `json:"email,omitempty"`
}

func userJSON(u *auth.User) user {
	w := user{
		ID: u.ID.String(), Aud: u.Aud, Role: u.Role, Email: u.Email, EmailConfirmedAt: u.EmailVerifiedAt, InvitedAt: u.InvitedAt,
		Phone: u.Phone, PhoneConfirmedAt: u.PhoneVerifiedAt, ConfirmationSentAt: u.ConfirmationSentAt,
		ConfirmedAt: earliest(u.EmailVerifiedAt, u.PhoneVerifiedAt), RecoverySentAt: u.RecoverySentAt,
		NewEmail: u.NewEmail, ReauthenticationSentAt: u.ReauthenticationSentAt, LastSignInAt: u.LastSignInAt,
		AppMetadata: u.AppMetadata, UserMetadata: u.UserMetadata, Identities: make([]identity, 0, len(u.Identities)),
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, BannedUntil: u.BannedUntil, DeletedAt: u.DeletedAt, IsAnonymous: u.IsAnonymous,
	}
	if u.NewEmail != "" {
		w.EmailChangeSentAt = u.EmailChangeSentAt
	}
	if u.NewPhone != "" {
		w.NewPhone, w.PhoneChangeSentAt = u.NewPhone, u.PhoneChangeSentAt
	}
	for i := range u.Identities {
		d := &u.Identities[i]
		w.Identities = append(w.Identities, identity{
			IdentityID: d.ID.String(), ID: d.Subject, UserID: d.UserID.String(), IdentityData: d.Data, Provider: d.Provider,
			LastSignInAt: d.LastSignInAt, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, Email: d.Email,
		})
	}
	return w
}

// UserJSON is a user as both families read it, for those who are told of one
// otherwise than by an answer.
func UserJSON(u *auth.User) (json.RawMessage, error) { return json.Marshal(userJSON(u)) }

// earliest returns the first of two instants that are not zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// session is what a sign-in answers: Netlify's four fields and Supabase's.
type session struct {
	AccessToken  string        `json:"access_token"`
	TokenType    string        `json:"token_type"`
	ExpiresIn    int64         `json:"expires_in"` // seconds
	ExpiresAt    int64         `json:"expires_at"` // Unix seconds
	RefreshToken string        `json:"refresh_token"`
	User         user          `json:"user"`
	WeakPassword *weakPassword `json:"weak_password,omitempty"`

	// What an account elsewhere is asked with; handed out once.
	ProviderToken        string `json:"provider_token,omitempty"`
	ProviderRefreshToken string `json:"provider_refresh_token,omitempty"`
}

type weakPassword struct {
	Message string   `json:"message,omitempty"`
	Reasons []string `json:"reasons"`
}

func sessionJSON(g *auth.Grant) session {
	s := session{
		AccessToken: g.Access, TokenType: "bearer", ExpiresIn: int64(g.TTL.Seconds()), ExpiresAt: g.Expires.Unix(),
		RefreshToken: g.Refresh, User: userJSON(&g.User), ProviderToken: g.ProviderToken, ProviderRefreshToken: g.ProviderRefresh,
	}
	if len(g.WeakPassword) > 0 {
		s.WeakPassword = &weakPassword{Message: "Your password no longer meets the requirements; please choose a new one.", Reasons: g.WeakPassword}
	}
	return s
}

// signedUp answers a sign-up that is confirmed at once: Supabase's clients
// read the session, Netlify's the user's fields beside it.
type signedUp struct {
	user
	session
}

// MarshalJSON writes the fields of both: neither has one of the other's.
func (s signedUp) MarshalJSON() ([]byte, error) {
	u, err := json.Marshal(s.user)
	if err != nil {
		return nil, err
	}
	t, err := json.Marshal(s.session)
	if err != nil {
		return nil, err
	}
	return append(append(u[:len(u)-1], ','), t[1:]...), nil
}
