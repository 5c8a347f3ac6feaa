package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestTheMoneyOfEachPersonFollows(t *testing.T) {
	p := servePage(t)
	p.fake.stopped[1] = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	next := p.open(t)
	if err := p.fake.TopUp(t.Context(), 1, topUp); err != nil {
		t.Fatal(err)
	}
	event, after, _ := next()
	const rich = `{"known":true,"balance":"50000.00","reserved":"0.00","stopped":""}`
	if want := `[` + rich + `,{"known":true,"balance":"480.00","reserved":"0.00","stopped":""},null]`; event != "accounts" || after != want {
		t.Errorf("%s %s, want %s", event, after, want)
	}
	p.fake.mu.Lock()
	p.fake.stopped[1] = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	p.fake.mu.Unlock()
	event, stopped, _ := next()
	want := `[` + rich + `,{"known":true,"balance":"480.00","reserved":"0.00","stopped":"balance",` +
		`"since":"2026-11-23T09:00:00Z","probe_at":"2026-11-23T09:01:00Z"},null]`
	if event != "accounts" || stopped != want {
		t.Errorf("%s %s, want %s", event, stopped, want)
	}
}

// Whoever has no number has no account; whose page has no accounts tells of none.
func TestATopUpIsOfThePersonOfThatPlace(t *testing.T) {
	f := newFake(t, time.Millisecond)
	deps := f.deps()
	h := New(f.config(testAddr), deps)
	deps.Accounts = nil
	without := New(f.config(testAddr), deps)
	ask := func(h http.Handler, place string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/demo/top-up/"+place, http.NoBody)
		r.Host = testAddr
		h.ServeHTTP(w, r)
		return w
	}
	for place, want := range map[string]int{"1": 202, "2": 202, "3": 404, "4": 404, "0": 404, "-1": 404, "two": 404} {
		if w := ask(h, place); w.Code != want {
			t.Errorf("%s: %d, want %d: %s", place, w.Code, want, w.Body)
		}
	}
	if w := ask(h, "2"); strings.TrimSpace(w.Body.String()) != `{"amount":"240.00","told":"top_up"}` {
		t.Errorf("the answer is %s", w.Body)
	}
	if w := ask(without, "1"); w.Code != http.StatusNotFound {
		t.Errorf("without accounts: %d", w.Code)
	}
	if want := [2]mobileid.Money{50_000_00 + topUp, 2*fakePrice + 2*topUp}; f.granted != want {
		t.Errorf("granted %v, want %v", f.granted, want)
	}
}
