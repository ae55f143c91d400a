package token

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"

	"gatehouse/internal/store"
)

// A refresh token is a session's id and a generation under a MAC: rubbish is
// refused without a query, the row of the session is all the server keeps, and
// the successor of generation n is always the same token, so that a lost
// answer or a second browser tab gets it again.
//
//	version 1 byte | session 16 bytes | generation uvarint | MAC 16 bytes
//
// in base64url without padding, which no client needs to escape.
type Refresh struct {
	Session    store.SessionID
	Generation int64
}

// MAC computes the keyed hash of its parts under the refresh tokens' own key.
type MAC func(parts ...[]byte) [32]byte

const refreshVersion, refreshMAC = 1, 16

// String renders r for a tenant.
func (r Refresh) String(tenant store.TenantID, mac MAC) string {
	b := make([]byte, 0, 1+16+binary.MaxVarintLen64+refreshMAC)
	b = append(b, refreshVersion)
	b = append(b, r.Session[:]...)
	b = binary.AppendUvarint(b, uint64(r.Generation))
	sum := mac(tenant[:], b)
	return base64.RawURLEncoding.EncodeToString(append(b, sum[:refreshMAC]...))
}

// ParseRefresh reads a token this server made for a tenant. Every byte counts:
// a cut, stretched or re-encoded token is none.
func ParseRefresh(s string, tenant store.TenantID, mac MAC) (Refresh, bool) {
	var r Refresh
	if len(s) > 64 {
		return r, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 1+16+1+refreshMAC || b[0] != refreshVersion {
		return r, false
	}
	if base64.RawURLEncoding.EncodedLen(len(b)) != len(s) { // even strict decoding skips line breaks
		return r, false
	}
	body, sum := b[:len(b)-refreshMAC], b[len(b)-refreshMAC:]
	want := mac(tenant[:], body)
	if subtle.ConstantTimeCompare(sum, want[:refreshMAC]) != 1 {
		return r, false
	}
	copy(r.Session[:], body[1:17])
	g, n := binary.Uvarint(body[17:])
	if n != len(body)-17 || g == 0 || g > 1<<62 {
		return r, false
	}
	r.Generation = int64(g)
	return r, true
}
