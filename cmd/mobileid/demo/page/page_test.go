package page

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

const testAddr = "127.0.0.1:8080"

func get(t *testing.T, h http.Handler, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+testAddr+path, http.NoBody)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func newPage(t *testing.T) (http.Handler, *fakeSystem) {
	t.Helper()
	f := newFake(t, time.Millisecond)
	return New(f.config(testAddr), f.deps()), f
}

func TestOnlyItsOwnHostIsAnswered(t *testing.T) {
	h, _ := newPage(t)
	for host, want := range map[string]int{
		"127.0.0.1:8080":              http.StatusOK,
		"localhost:8080":              http.StatusOK,
		"[::1]:8080":                  http.StatusOK,
		"127.0.0.1:8081":              http.StatusMisdirectedRequest,
		"127.0.0.1":                   http.StatusMisdirectedRequest,
		"evil.example":                http.StatusMisdirectedRequest,
		"localhost.evil.example:8080": http.StatusMisdirectedRequest,
		"":                            http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/", "/demo/token"} {
			w := get(t, h, path, func(r *http.Request) { r.Host = host })
			if w.Code != want {
				t.Errorf("Host %q, %s: %d, want %d", host, path, w.Code, want)
			}
		}
	}
}

func TestAnotherSiteMayOpenThePageButFetchNothing(t *testing.T) {
	h, _ := newPage(t)
	for _, c := range []struct {
		path, site, mode string
		want             int
	}{
		{"/", "cross-site", "navigate", http.StatusOK},
		{"/", "cross-site", "no-cors", http.StatusForbidden},
		{"/demo/token", "cross-site", "cors", http.StatusForbidden},
		{"/demo/token", "same-site", "cors", http.StatusForbidden},
		{"/demo/token", "cross-site", "navigate", http.StatusForbidden},
		{"/demo/token", "same-origin", "cors", http.StatusOK},
		{"/demo/token", "", "", http.StatusOK},
	} {
		w := get(t, h, c.path, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", c.site)
			r.Header.Set("Sec-Fetch-Mode", c.mode)
			r.Header.Set("Origin", "http://evil.example")
		})
		if w.Code != c.want {
			t.Errorf("%s from %q by %q: %d, want %d", c.path, c.site, c.mode, w.Code, c.want)
		}
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: a CORS header: %s", c.path, name)
			}
		}
	}
}

func TestThePageLoadsNothingFromElsewhereAndRunsNothingInline(t *testing.T) {
	h, _ := newPage(t)
	w := get(t, h, "/")
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s+defer|\s+src="[^"]*")*\s*>[^<]`)
	outside := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	for path, kind := range map[string]string{"/": "text/html", "/demo/style.css": "text/css", "/demo/app.js": "text/javascript"} {
		w := get(t, h, path)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Fatalf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		body := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
		if at := outside.FindString(body); at != "" {
			t.Errorf("%s names %s", path, at)
		}
		if path == "/" && inline.MatchString(body) {
			t.Errorf("inline code in the page: %q", inline.FindString(body))
		}
		if strings.Contains(body, "innerHTML") {
			t.Errorf("%s writes HTML", path)
		}
	}
}

func TestTheDocumentedElementIDsExist(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	html, err := fs.ReadFile(assets, "assets/index.html")
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`#([a-z]+)`).FindAllStringSubmatch(string(doc), -1)
	if len(ids) < 12 {
		t.Fatalf("only %d ids documented", len(ids))
	}
	for _, m := range ids {
		// #sms comes with the first text.
		if m[1] != "sms" && !strings.Contains(string(html), `id="`+m[1]+`"`) {
			t.Errorf("#%s is documented but not in the page", m[1])
		}
	}
	// Every id that the script looks up is in the page.
	js, err := fs.ReadFile(assets, "assets/app.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\('([a-z-]+)'\)`).FindAllStringSubmatch(string(js), -1) {
		if m[1] != "sms" && !strings.Contains(string(html), `id="`+m[1]+`"`) {
			t.Errorf("app.js looks for #%s, which is not in the page", m[1])
		}
	}
}

func TestSetupAndToken(t *testing.T) {
	h, _ := newPage(t)
	setup := decode[struct {
		Persons  []map[string]string
		Purposes []Choice
		Notice   Notice
		Engine   Engine
		Handset  bool
	}](t, get(t, h, "/demo/setup"))
	if len(setup.Persons) != 3 || setup.Persons[0]["pinfl"] != fakePINFL || setup.Persons[0]["masked"] != "+998 90 *** ** 67" {
		t.Errorf("persons %v", setup.Persons)
	}
	if len(setup.Purposes) != 2 || setup.Notice.NowSlot != "at" || setup.Engine.Postgres == "" || !setup.Handset {
		t.Errorf("setup %+v", setup)
	}
	w := get(t, h, "/demo/token")
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("a token may be stored by caches")
	}
	if tok := decode[map[string]string](t, w); tok["access_token"] == "" || tok["client"] != "oneid" || tok["expires_at"] == "" {
		t.Errorf("token %v", tok)
	}
}

func TestUnknownPathsAndMethodsAreRefused(t *testing.T) {
	h, _ := newPage(t)
	if w := get(t, h, "/index.html"); w.Code != http.StatusNotFound {
		t.Errorf("/index.html: %d", w.Code)
	}
	if w := get(t, h, "/demo/token", func(r *http.Request) { r.Method = http.MethodPost }); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
