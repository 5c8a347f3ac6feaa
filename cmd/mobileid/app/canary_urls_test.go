package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"mobileid/cmd/mobileid/config"
)

// urls keeps the URL of every HTTP request of a run: those that reach our edge
// and the simulated world, seen from the server's side, and those that this
// process sends to whomever. URLs are what proxies, browsers and servers write
// into logs that are not ours.
type urls struct {
	mu   sync.Mutex
	seen []piece
	next http.RoundTripper
}

// watchURLs begins to look at what this process sends.
func watchURLs(t *testing.T) *urls {
	t.Helper()
	u := &urls{next: http.DefaultTransport}
	http.DefaultTransport = u
	t.Cleanup(func() { http.DefaultTransport = u.next })
	return u
}

// RoundTrip sends a request, and keeps its URL.
func (u *urls) RoundTrip(r *http.Request) (*http.Response, error) {
	u.keep("URL requested", r.URL.String(), r.Referer())
	return u.next.RoundTrip(r)
}

// keep keeps a URL as it is written, and what its escapes say.
func (u *urls) keep(where, line, referer string) {
	plain, _ := url.PathUnescape(line) // "" if it is no escape: then the line itself is all
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, piece{where: where, data: []byte(line + "\n" + plain + "\n" + referer)})
}

// before stands before a server and keeps what is asked of it, byte for byte.
func (u *urls) before(t *testing.T, name, target string) string {
	t.Helper()
	at, err := url.Parse(target)
	check(t, err)
	pass := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(at); r.Out.Host = r.In.Host },
		Transport: u.next,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.keep("URL at "+name, r.RequestURI, r.Referer())
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// beforeIssuer has the keys of the token issuer fetched through it.
func (u *urls) beforeIssuer(t *testing.T) func(*config.Config) {
	t.Helper()
	return func(c *config.Config) {
		at, err := url.Parse(c.Auth.JWKSURL)
		check(t, err)
		c.Auth.JWKSURL = u.before(t, "the issuer", at.Scheme+"://"+at.Host) + at.Path
	}
}

// collected are the URLs; those that the test itself made of a canary, to see
// what becomes of them, are returned apart.
func (u *urls) collected(careless []string) (pieces, own []piece) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.seen {
		line, _, _ := strings.Cut(string(p.data), "\n")
		mine := false
		for _, c := range careless {
			mine = mine || strings.HasSuffix(line, c)
		}
		if mine {
			own = append(own, p)
		} else {
			pieces = append(pieces, p)
		}
	}
	return pieces, own
}
