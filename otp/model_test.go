package otp

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
)

// liveCode is the plain model of one issued code.
type liveCode struct {
	id     mobileid.ID
	issued mobileid.IssuedCode
	tries  int
	wrong  int
	exp    time.Time
	gone   bool // flushed
}

func (m *liveCode) verify(now time.Time, right bool) (mobileid.CodeResult, int) {
	switch {
	case m.gone || !now.Before(m.exp.Add(margin)):
		return mobileid.CodeLost, 0
	case !now.Before(m.exp):
		return mobileid.CodeExpired, 0
	case m.wrong >= m.tries:
		return mobileid.CodeExhausted, 0
	case right:
		return mobileid.CodeRight, m.tries - m.wrong
	}
	m.wrong++
	return mobileid.CodeWrong, m.tries - m.wrong
}

func TestServiceBehavesAsThePlainModel(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := client(t, server.Addr())
	ids := []mobileid.ID{challengeID(t, "1"), challengeID(t, "2")}
	rapid.Check(t, func(rt *rapid.T) {
		server.FlushAll()
		c := &clock{at: start, server: server}
		s := service(t, rdb, c.now, keyA)
		var codes []*liveCode
		rt.Repeat(map[string]func(*rapid.T){
			"issue": func(rt *rapid.T) {
				m := &liveCode{
					id:    rapid.SampledFrom(ids).Draw(rt, "id"),
					tries: rapid.IntRange(1, 4).Draw(rt, "tries"),
				}
				life := time.Duration(rapid.IntRange(1, 600).Draw(rt, "life")) * time.Second
				m.exp = c.now().Add(life)
				var err error
				if m.issued, err = s.Issue(t.Context(), m.id, 6, life, m.tries); err != nil {
					rt.Fatal(err)
				}
				codes = append(codes, m)
			},
			"verify": func(rt *rapid.T) {
				if len(codes) == 0 {
					rt.Skip("nothing issued")
				}
				m := rapid.SampledFrom(codes).Draw(rt, "code")
				right := rapid.Bool().Draw(rt, "right")
				code := m.issued.Code
				if !right {
					code = wrong(code)
				}
				want, wantLeft := m.verify(c.now(), right)
				got, left, err := s.Verify(t.Context(), m.id, m.issued.Nonce, code)
				if err != nil || got != want || left != wantLeft {
					rt.Fatalf("%s with %d left (%v), want %s with %d", got, left, err, want, wantLeft)
				}
			},
			"time passes": func(rt *rapid.T) {
				c.advance(time.Duration(rapid.IntRange(1, 400_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"redis forgets": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "luck") > 0 {
					rt.Skip("not now")
				}
				server.FlushAll()
				for _, m := range codes {
					m.gone = true
				}
			},
		})
	})
}
