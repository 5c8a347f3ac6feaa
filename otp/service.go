package otp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

const (
	// margin is how long an expired code is still known as expired. Later it
	// reads as lost; the row has long ended by then.
	margin = 10 * time.Minute

	minDigits, maxDigits = 4, 10
)

// Config is what a Service is made from.
type Config struct {
	Redis redis.UniversalClient
	Keys  []Key            // the first keeps new codes, the others are retired
	Now   func() time.Time // nil means time.Now
}

// Service issues and verifies codes. It is safe for concurrent use and keeps
// no state of its own.
type Service struct {
	rdb  redis.UniversalClient
	keys ring
	now  func() time.Time
}

// New checks the keys; every mistake is in the error. It does not talk to
// Redis (CheckServer does).
func New(cfg Config) (*Service, error) {
	keys, err := newRing(cfg.Keys)
	if cfg.Redis == nil {
		err = errors.Join(errors.New("otp: no Redis client"), err)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{rdb: cfg.Redis, keys: keys, now: cfg.Now}, nil
}

// codeKey holds one tag, the challenge's id: its codes share a slot. Ids and
// nonces name no person.
func codeKey(id mobileid.ID, nonce string) string {
	return "otp:{" + id.String() + "}:" + nonce
}

// Issue makes a code of that many digits (4 to 10), alive for life and good
// for that many comparisons, and stores its HMAC under a fresh nonce. It runs
// before the challenge's row exists: a code whose nonce never gets into a row
// cannot be verified and fades. Errors: KindInvalid for numbers out of range,
// KindUnavailable "redis_away" within a second.
func (s *Service) Issue(
	ctx context.Context, id mobileid.ID, digits int, life time.Duration, tries int,
) (mobileid.IssuedCode, error) {
	switch {
	case digits < minDigits || digits > maxDigits:
		return mobileid.IssuedCode{}, mobileid.Invalid("digits", "digits_range", "a code has 4 to 10 digits")
	case life < time.Second:
		return mobileid.IssuedCode{}, mobileid.Invalid("life", "life_range", "a code lives at least a second")
	case tries < 1:
		return mobileid.IssuedCode{}, mobileid.Invalid("tries", "tries_range", "a code has at least one try")
	}
	code, err := newCode(digits)
	if err != nil {
		return mobileid.IssuedCode{}, err
	}
	nonce := rand.Text()
	mac, _ := s.keys.mac(s.keys.current, id, nonce, code)
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	err = issueScript.Run(ctx, s.rdb, []string{codeKey(id, nonce)},
		mac, s.keys.current, s.now().Add(life).UnixMilli(), tries, (life + margin).Milliseconds()).Err()
	if err != nil {
		return mobileid.IssuedCode{}, call.Away(err)
	}
	return mobileid.IssuedCode{Nonce: nonce, Code: code}, nil
}

// newCode draws uniformly: every code of that length, leading zeros included,
// is as likely as any other.
func newCode(digits int) (mobileid.Code, error) {
	space := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, space)
	if err != nil {
		return mobileid.Code{}, fmt.Errorf("otp: draw a code: %w", err)
	}
	return mobileid.NewCode(fmt.Sprintf("%0*d", digits, n)), nil
}

// Verify compares code with the live one that nonce names. left is how many
// wrong codes may still follow; with CodeExhausted nothing was compared. The
// right code passes at the last try too. A code whose key has been removed is
// CodeLost. Calls with the same code at the same moment share one try, so
// repeating the right code cannot exhaust it. The error is KindUnavailable "redis_away", within a second; the
// try may have been counted all the same.
func (s *Service) Verify(
	ctx context.Context, id mobileid.ID, nonce string, code mobileid.Code,
) (result mobileid.CodeResult, left int, err error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	key := []string{codeKey(id, nonce)}
	presented, _ := s.keys.mac(s.keys.current, id, nonce, code)
	tag := fmt.Sprintf("%x", presented[:8])
	reply, err := takeScript.Run(ctx, s.rdb, key, s.now().UnixMilli(), tag).Slice()
	if err != nil {
		return "", 0, call.Away(err)
	}
	taken, err := readTaken(reply)
	if err != nil {
		return "", 0, call.Away(err)
	}
	if taken.answer != "" {
		return taken.answer, 0, nil
	}
	want, known := s.keys.mac(taken.keyID, id, nonce, code)
	if !known {
		return mobileid.CodeLost, 0, nil
	}
	right := hmac.Equal(want, []byte(taken.mac))
	// If this fails the person is short of a try that he may never need, or the
	// same guess costs nothing the next time: what was compared stays true.
	_ = comparedScript.Run(ctx, s.rdb, key, tag, right).Err()
	if !right {
		return mobileid.CodeWrong, taken.left, nil
	}
	return mobileid.CodeRight, taken.left + 1, nil
}

// taken is what takeScript answered: an end, or a try to compare with.
type taken struct {
	answer mobileid.CodeResult // "" = compare
	mac    string
	keyID  string
	left   int
}

func readTaken(reply []any) (taken, error) {
	if len(reply) == 0 {
		return taken{}, errors.New("empty reply of the take script")
	}
	switch reply[0] {
	case "lost":
		return taken{answer: mobileid.CodeLost}, nil
	case "expired":
		return taken{answer: mobileid.CodeExpired}, nil
	case "exhausted":
		return taken{answer: mobileid.CodeExhausted}, nil
	}
	if len(reply) == 4 && reply[0] == "taken" {
		mac, okMAC := reply[1].(string)
		keyID, okKey := reply[2].(string)
		left, okLeft := reply[3].(int64)
		if okMAC && okKey && okLeft {
			return taken{mac: mac, keyID: keyID, left: int(left)}, nil
		}
	}
	return taken{}, errors.New("unknown reply of the take script, " + strconv.Itoa(len(reply)) + " fields")
}
