package gateway

import (
	"net/http"
	"testing"
)

// BenchmarkPost is what a POST costs the edge itself: the engines behind it are
// fakes, and a client comes again and again with one token. "nothing" is the
// share of the test's own request and recorder.
func BenchmarkPost(b *testing.B) {
	for _, x := range []struct {
		name   string
		call   func(*edge) call
		status int
	}{{"challenge", ask, 202}, {"notification", tell, 202}, {"nothing", ask, 200}} {
		b.Run(x.name, func(b *testing.B) {
			e := newEdge(b, nil)
			in := x.call(e)
			if x.name == "nothing" {
				e.h = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			}
			b.ReportAllocs()
			for b.Loop() {
				if w := e.do(in); w.Code != x.status {
					b.Fatal(w.Code, w.Body)
				}
				// The fakes forget, so that every request is a new one.
				e.kafka.list = e.kafka.list[:0]
				clear(e.keys.m)
				e.log.Reset()
			}
		})
	}
}
