package otp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// clock is the service's and the server's clock at once: miniredis ages keys
// only when told.
type clock struct {
	mu     sync.Mutex
	at     time.Time
	server *miniredis.Miniredis
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.server.FastForward(d)
}

var (
	keyA = Key{ID: "a", Secret: []byte("0123456789abcdefA")}
	keyB = Key{ID: "b", Secret: []byte("0123456789abcdefB")}
)

func client(t *testing.T, addrs ...string) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewUniversalClient(RedisOptions(addrs, ""))
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func service(t *testing.T, rdb redis.UniversalClient, now func() time.Time, keys ...Key) *Service {
	t.Helper()
	s, err := New(Config{Redis: rdb, Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fixture(t *testing.T) (*Service, *clock) {
	t.Helper()
	c := &clock{at: start, server: miniredis.RunT(t)}
	return service(t, client(t, c.server.Addr()), c.now, keyA), c
}

func challengeID(t *testing.T, key string) mobileid.ID {
	t.Helper()
	k, err := mobileid.NewIDKey([]byte("an id key for tests"))
	if err != nil {
		t.Fatal(err)
	}
	return k.Make(mobileid.KindChallenge, "oneid", key, start)
}

func issue(t *testing.T, s *Service, id mobileid.ID, life time.Duration, tries int) mobileid.IssuedCode {
	t.Helper()
	issued, err := s.Issue(t.Context(), id, 6, life, tries)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// wrong returns a code of the same length that is not the given one.
func wrong(code mobileid.Code) mobileid.Code {
	digits := []byte(code.Reveal())
	digits[0] = '0' + (digits[0]-'0'+1)%10
	return mobileid.NewCode(string(digits))
}

func expect(
	t *testing.T, s *Service, id mobileid.ID, nonce string, code mobileid.Code, want mobileid.CodeResult, wantLeft int,
) {
	t.Helper()
	got, left, err := s.Verify(t.Context(), id, nonce, code)
	if err != nil {
		t.Fatal(err)
	}
	if got != want || left != wantLeft {
		t.Errorf("%s with %d left, want %s with %d", got, left, want, wantLeft)
	}
}

func TestRightCodePassesAtTheLastTry(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 2)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 1)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeRight, 1)
}

func TestRightCodeIsNotComparedBeyondTheLastTry(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 2)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 1)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 0)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExhausted, 0)
}

func TestRightCodeDoesNotSpendItsTry(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 1)
	for range 5 {
		expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeRight, 1)
	}
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 0)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExhausted, 0)
}

func TestCodeExpiresAtItsStoredInstant(t *testing.T) {
	s, c := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	c.advance(5*time.Minute - time.Millisecond)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeRight, 3)
	c.advance(time.Millisecond)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExpired, 0)
	c.advance(margin - time.Millisecond)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExpired, 0)
	c.advance(time.Millisecond)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeLost, 0)
}

func TestExpiryDoesNotHangOnTheServersClock(t *testing.T) {
	s, c := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	c.mu.Lock()
	c.at = c.at.Add(5 * time.Minute) // the server has not aged at all
	c.mu.Unlock()
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExpired, 0)
}

func TestAbsentCodeIsLost(t *testing.T) {
	s, c := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	expect(t, s, challengeID(t, "2"), issued.Nonce, issued.Code, mobileid.CodeLost, 0)
	expect(t, s, id, "another nonce", issued.Code, mobileid.CodeLost, 0)
	c.server.FlushAll()
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeLost, 0)
	if keys := c.server.Keys(); len(keys) != 0 {
		t.Errorf("verifying what is lost left %v behind", keys)
	}
}

func TestEachIssueOfAChallengeHasItsOwnCode(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	first := issue(t, s, id, 5*time.Minute, 3)
	second := issue(t, s, id, 5*time.Minute, 3)
	for second.Code == first.Code { // one in a million
		second = issue(t, s, id, 5*time.Minute, 3)
	}
	expect(t, s, id, first.Nonce, second.Code, mobileid.CodeWrong, 2)
	expect(t, s, id, first.Nonce, first.Code, mobileid.CodeRight, 2)
	expect(t, s, id, second.Nonce, second.Code, mobileid.CodeRight, 3)
}

func TestCopiedEntryFitsNoOtherChallengeOrNonce(t *testing.T) {
	s, c := fixture(t)
	id, other := challengeID(t, "1"), challengeID(t, "2")
	issued := issue(t, s, id, 5*time.Minute, 3)
	for _, field := range []string{"mac", "key", "exp", "tries", "used"} {
		v := c.server.HGet(codeKey(id, issued.Nonce), field)
		c.server.HSet(codeKey(other, issued.Nonce), field, v)
		c.server.HSet(codeKey(id, "other nonce"), field, v)
	}
	expect(t, s, other, issued.Nonce, issued.Code, mobileid.CodeWrong, 2)
	expect(t, s, id, "other nonce", issued.Code, mobileid.CodeWrong, 2)
}

func TestRotatedKeyStillVerifiesAndARemovedOneIsLost(t *testing.T) {
	s, c := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	rotated := service(t, s.rdb, c.now, keyB, keyA)
	expect(t, rotated, id, issued.Nonce, issued.Code, mobileid.CodeRight, 3)
	if fresh := issue(t, rotated, id, time.Minute, 3); c.server.HGet(codeKey(id, fresh.Nonce), "key") != "b" {
		t.Error("new codes are not kept under the first key")
	}
	removed := service(t, s.rdb, c.now, keyB)
	expect(t, removed, id, issued.Nonce, issued.Code, mobileid.CodeLost, 0)
}

func TestRedisNeverHoldsTheCode(t *testing.T) {
	s, c := fixture(t)
	id := challengeID(t, "1")
	issued := issue(t, s, id, 5*time.Minute, 3)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 2)
	if dump := c.server.Dump(); strings.Contains(dump, issued.Code.Reveal()) {
		t.Errorf("the code stands in Redis:\n%s", dump)
	}
	key := codeKey(id, issued.Nonce)
	if want := "otp:{" + id.String() + "}:" + issued.Nonce; key != want {
		t.Errorf("key %s, want %s", key, want)
	}
	if mac := c.server.HGet(key, "mac"); len(mac) != 32 {
		t.Errorf("the mac has %d bytes", len(mac))
	}
	if ttl := c.server.TTL(key); ttl != 5*time.Minute+margin {
		t.Errorf("time to live %s", ttl)
	}
}

func TestParallelGuessesGetNoMoreThanTheTries(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	const tries, guessers = 3, 40
	issued := issue(t, s, id, 5*time.Minute, tries)
	results := make(chan mobileid.CodeResult, guessers)
	var all sync.WaitGroup
	for n := range guessers {
		guess := mobileid.NewCode(fmt.Sprintf("%06d", n))
		if guess.Reveal() == issued.Code.Reveal() {
			guess = wrong(guess)
		}
		all.Go(func() {
			got, _, err := s.Verify(t.Context(), id, issued.Nonce, guess)
			if err != nil {
				t.Error(err)
			}
			results <- got
		})
	}
	all.Wait()
	close(results)
	count := map[mobileid.CodeResult]int{}
	for r := range results {
		count[r]++
	}
	if count[mobileid.CodeWrong] != tries || count[mobileid.CodeExhausted] != guessers-tries {
		t.Errorf("compared and refused: %v", count)
	}
}

func TestTheRightCodeAtTheSameMomentIsAlwaysRight(t *testing.T) {
	s, _ := fixture(t)
	id := challengeID(t, "1")
	const tries, copies = 3, 40
	issued := issue(t, s, id, 5*time.Minute, tries)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 2)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 1)
	var all sync.WaitGroup
	for range copies {
		all.Go(func() {
			got, left, err := s.Verify(t.Context(), id, issued.Nonce, issued.Code)
			if err != nil || got != mobileid.CodeRight || left != 1 {
				t.Errorf("%s with %d left, %v", got, left, err)
			}
		})
	}
	all.Wait()
	// The shared try is back, and it is one try only.
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 0)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeExhausted, 0)
}

func TestCodesAreUniformAndKeepLeadingZeros(t *testing.T) {
	const draws = 20000
	first := map[byte]int{}
	for range draws {
		code, err := newCode(4)
		if err != nil {
			t.Fatal(err)
		}
		if len(code.Reveal()) != 4 {
			t.Fatalf("%d characters", len(code.Reveal()))
		}
		first[code.Reveal()[0]]++
	}
	// 2000 each; the standard deviation is 42, so 300 off is no accident.
	for _, d := range slices.Sorted(maps.Keys(first)) {
		if n := first[d]; n < draws/10-300 || n > draws/10+300 {
			t.Errorf("first digit %c in %d of %d codes", d, n, draws)
		}
	}
	if len(first) != 10 {
		t.Errorf("%d different first digits", len(first))
	}
}

func TestIssueRefusesNumbersOutOfRange(t *testing.T) {
	s, c := fixture(t)
	cases := []struct {
		name   string
		digits int
		life   time.Duration
		tries  int
		field  string
	}{
		{"three digits", 3, time.Minute, 3, "digits"},
		{"eleven digits", 11, time.Minute, 3, "digits"},
		{"no life", 6, 0, 3, "life"},
		{"no tries", 6, time.Minute, 0, "tries"},
	}
	for _, tc := range cases {
		_, err := s.Issue(t.Context(), challengeID(t, "1"), tc.digits, tc.life, tc.tries)
		if mobileid.KindOf(err) != mobileid.KindInvalid || mobileid.CodeOf(err) != tc.field+"_range" {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if keys := c.server.Keys(); len(keys) != 0 {
		t.Errorf("keys %v", keys)
	}
}

func TestNewListsEveryWrongKey(t *testing.T) {
	_, err := New(Config{Keys: []Key{{ID: "a", Secret: []byte("short")}, {ID: "a", Secret: keyA.Secret}, {Secret: keyA.Secret}}})
	if err == nil {
		t.Fatal("made")
	}
	for _, want := range []string{"no Redis client", "keys[0].secret", "keys[1].id", "keys[2].id"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not told in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Errorf("a secret is in %v", err)
	}
	if _, err := New(Config{Redis: redis.NewClient(&redis.Options{}), Keys: nil}); err == nil {
		t.Error("made without a key")
	}
}

func TestClusterClientRunsEveryCall(t *testing.T) {
	server := miniredis.RunT(t)
	opts := RedisOptions([]string{server.Addr()}, "")
	opts.IsClusterMode = true
	rdb := redis.NewUniversalClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	if _, ok := rdb.(*redis.ClusterClient); !ok {
		t.Fatalf("%T is no cluster client", rdb)
	}
	s := service(t, rdb, func() time.Time { return start }, keyA)
	id := challengeID(t, "1")
	issued := issue(t, s, id, time.Minute, 2)
	expect(t, s, id, issued.Nonce, wrong(issued.Code), mobileid.CodeWrong, 1)
	expect(t, s, id, issued.Nonce, issued.Code, mobileid.CodeRight, 1)
	if _, err := s.Epoch(t.Context()); err != nil {
		t.Error(err)
	}
	gone, err := s.Missing(t.Context(), []mobileid.IssuedRef{{ID: id, Nonce: issued.Nonce}, {ID: id, Nonce: "x"}})
	if err != nil || len(gone) != 1 {
		t.Errorf("%d gone, %v", len(gone), err)
	}
	if err := CheckServer(t.Context(), rdb); err != nil {
		t.Error(err)
	}
}

func TestVerifyHonoursTheCallersContext(t *testing.T) {
	s, _ := fixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Verify(ctx, challengeID(t, "1"), "n", mobileid.NewCode("123456")); mobileid.CodeOf(err) != "redis_away" {
		t.Errorf("err = %v", err)
	}
}
