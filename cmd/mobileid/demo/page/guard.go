package page

import (
	"net"
	"net/http"
	"slices"
)

// The page loads nothing from elsewhere and runs no inline script, so a text
// that found its way into the page could still not run.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard lets through only what a browser asks on this page's own behalf. The
// Host check is against DNS rebinding: a foreign page whose name was made to
// resolve to 127.0.0.1 is same-origin for the browser, but not its Host.
func guard(addr string, next http.Handler) http.Handler {
	hosts := hostsOf(addr)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !slices.Contains(hosts, r.Host) {
			http.Error(w, "this page answers on its own address only: http://"+addr+"/",
				http.StatusMisdirectedRequest)
			return
		}
		// Browsers say where a fetch comes from; a person following a link to
		// the page is welcome, a foreign script is not. curl says nothing.
		site := r.Header.Get("Sec-Fetch-Site")
		foreign := site == "cross-site" || site == "same-site"
		if foreign && (r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate") {
			http.Error(w, "asked for by another site", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostsOf returns the values of Host that mean this listener.
func hostsOf(addr string) []string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []string{addr}
	}
	names := []string{host, "localhost", "127.0.0.1", "::1"}
	var out []string
	for _, n := range names {
		out = append(out, net.JoinHostPort(n, port))
		if port == "80" {
			out = append(out, n)
		}
	}
	return out
}
