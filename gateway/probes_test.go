package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFloodOfReadinessProbesIsOneRoundASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int32
		bad := false
		e := newEdge(t, time.Now, func(_ *Config, d *Deps) {
			d.Ready = []Check{{Name: "engine", Check: func(context.Context) error {
				rounds.Add(1)
				if bad {
					return errors.New("away")
				}
				return nil
			}}}
		})
		for range 50 {
			if w := e.do(call{method: "GET", path: "/readyz"}); w.Code != 200 {
				t.Fatal(w.Code)
			}
		}
		if n := rounds.Load(); n != 1 {
			t.Errorf("%d rounds, want 1", n)
		}
		bad = true
		time.Sleep(readyLife) // virtual time
		if w := e.do(call{method: "GET", path: "/readyz"}); w.Code != 503 || rounds.Load() != 2 {
			t.Errorf("%d after %d rounds", w.Code, rounds.Load())
		}
	})
}

func TestAPartThatFailsIsShownAndDoesNotDecide(t *testing.T) {
	e := newEdge(t, nil, func(_ *Config, d *Deps) {
		d.Ready = []Check{
			{Name: "smpp", Check: func(context.Context) error { return nil }},
			{Name: "smpp beeline", Part: true, Check: func(context.Context) error { return errors.New("away") }},
		}
	})
	w := e.do(call{method: "GET", path: "/readyz"})
	if want := `{"status":"ready","checks":{"smpp":"ok","smpp beeline":"failing"}}` + "\n"; w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestLivezNamesWhatIsStuckAndAsksNoEngine(t *testing.T) {
	var stuck []string
	e := newEdge(t, nil, func(_ *Config, d *Deps) { d.Stuck = func() []string { return stuck } })
	e.ready = errors.New("away")
	look := func() (int, string) {
		w := e.do(call{method: "GET", path: "/livez"})
		return w.Code, w.Body.String()
	}
	if code, body := look(); code != 200 || body != "{\"status\":\"ok\"}\n" {
		t.Errorf("%d %s", code, body)
	}
	stuck = []string{"relay", "sweeper"}
	if code, body := look(); code != 503 || body != "{\"status\":\"stuck\",\"stuck\":[\"relay\",\"sweeper\"]}\n" {
		t.Errorf("%d %s", code, body)
	}
	stuck = nil
	if code, _ := look(); code != 200 {
		t.Errorf("healed: %d", code)
	}
}
