package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestEachRequestHasALineWithItsKeyAndWhatItWasAnswered(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		switch body, _ := io.ReadAll(r.Body); {
		case strings.HasSuffix(key, "-9"):
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/v1/challenges" && bytes.Contains(body, []byte("purpose")):
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintf(w, `{"id":"ch_%s","state":"accepted"}`, key)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"code":"outcome_unknown","id":"not of a 202"}`)
		}
	}))
	defer gateway.Close()
	var out bytes.Buffer
	err := run(t.Context(), options{
		url: gateway.URL, token: "t", run: "r", rate: 100, from: 6, duration: 40 * time.Millisecond, out: &out,
		persons: []string{"1", "2", "3", "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{ // from round to round the lanes change places
		"r-6 bulk 503 - outcome_unknown",
		"r-7 otp 202 ch_r-7 -",
		"r-8 otp 202 ch_r-8 -",
		"r-9 bulk 0 - no_connection",
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		f := strings.Fields(line)
		if got := strings.Join([]string{f[0], f[1], f[5], f[6], f[7]}, " "); got != want[i] {
			t.Errorf("line %d: %s, want %s", i, got, want[i])
		}
		if f[2] > f[3] || f[3] > f[4] {
			t.Errorf("line %d: scheduled, started, answered are not in order: %s", i, line)
		}
	}
}

func TestALaneMayBeAskedForAlone(t *testing.T) {
	for _, lane := range []string{laneCodes, laneNotices} {
		var paths []string
		gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) }))
		o := options{url: gateway.URL, run: "r", only: lane, persons: []string{"1"}}
		for k := range 3 {
			if l := o.ask(t.Context(), gateway.Client(), k, time.Now()); l.lane != lane {
				t.Errorf("asked for %s, the line says %s", lane, l.lane)
			}
		}
		gateway.Close()
		want := map[string]string{laneCodes: "/v1/challenges", laneNotices: "/v1/notifications"}[lane]
		for _, path := range paths {
			if path != want {
				t.Errorf("%s: asked %s, want %s", lane, path, want)
			}
		}
	}
}
