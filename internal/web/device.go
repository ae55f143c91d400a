package web

import (
	"net/http"
	"time"
)

// deviceCookie holds what shows that a user was signed in at this browser before
// (auth.Grant.Device). It opens nothing.
const deviceCookie = "gatehouse-device"

// KeepDevice has the browser keep a device, where the request comes from a page
// whose cookies come back: others have no use for it, and programs keep none.
// Over plain HTTP, which is for development, it must not be for secure
// connections alone.
func KeepDevice(w http.ResponseWriter, r *http.Request, device string, plain bool) {
	site := r.Header.Get("Sec-Fetch-Site")
	if device == "" || site != "same-origin" && site != "same-site" && !LineOf(r).trusted {
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: deviceCookie, Value: device, Path: "/", HttpOnly: true, Secure: !plain, SameSite: http.SameSiteLaxMode,
		MaxAge: int((400 * 24 * time.Hour).Seconds()), // more than browsers keep any (RFC 6265bis §5.5)
	})
}

// deviceOf reads the cookie back.
func deviceOf(r *http.Request) string {
	const longest = 256
	c, err := r.Cookie(deviceCookie)
	if err != nil || len(c.Value) > longest {
		return ""
	}
	return c.Value
}
