package otp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"mobileid/internal/mobileid"
	"mobileid/otp/internal/call"
)

const (
	// epochKeys spread over the slots of a cluster, so that each of its
	// servers holds some (a test counts them for 16 equal servers).
	epochKeys = 64
	// missingBatch bounds one pipeline.
	missingBatch = 500
)

func epochKey(i int) string { return fmt.Sprintf("otp:epoch:{%02d}", i) }

// Epoch returns a value that stays the same while Redis keeps its memory and
// changes when any of its servers lost it: then Missing tells which codes are
// gone. The error is KindUnavailable "redis_away".
func (s *Service) Epoch(ctx context.Context) (string, error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	values, err := s.readEpoch(ctx)
	if err != nil {
		return "", call.Away(err)
	}
	var absent []int
	for i, v := range values {
		if v == "" {
			absent = append(absent, i)
		}
	}
	if len(absent) > 0 {
		// Whoever sets a key first decides; everybody reads it back.
		if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, i := range absent {
				p.SetNX(ctx, epochKey(i), rand.Text(), 0)
			}
			return nil
		}); err != nil {
			return "", call.Away(err)
		}
		if values, err = s.readEpoch(ctx); err != nil {
			return "", call.Away(err)
		}
	}
	h := sha256.New()
	for _, v := range values {
		if v == "" {
			return "", call.Away(errors.New("an epoch key went as soon as it was set"))
		}
		h.Write([]byte(v))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func (s *Service) readEpoch(ctx context.Context) ([epochKeys]string, error) {
	var gets [epochKeys]*redis.StringCmd
	var values [epochKeys]string
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range gets {
			gets[i] = p.Get(ctx, epochKey(i))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return values, err
	}
	for i, get := range gets {
		v, err := get.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return values, err
		}
		values[i] = v
	}
	return values, nil
}

// Missing returns the ids of those codes that Redis does not hold, in the
// order of refs. Ask only for codes that are not expired: an expired one fades
// after a while and then counts as missing. The error is KindUnavailable
// "redis_away"; nothing is concluded from half an answer.
func (s *Service) Missing(ctx context.Context, refs []mobileid.IssuedRef) ([]mobileid.ID, error) {
	var missing []mobileid.ID
	for len(refs) > 0 {
		batch := refs[:min(len(refs), missingBatch)]
		refs = refs[len(batch):]
		gone, err := s.missing(ctx, batch)
		if err != nil {
			return nil, call.Away(err)
		}
		missing = append(missing, gone...)
	}
	return missing, nil
}

func (s *Service) missing(ctx context.Context, batch []mobileid.IssuedRef) ([]mobileid.ID, error) {
	ctx, cancel := call.Bound(ctx)
	defer cancel()
	found := make([]*redis.IntCmd, len(batch))
	if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, ref := range batch {
			found[i] = p.Exists(ctx, codeKey(ref.ID, ref.Nonce))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var gone []mobileid.ID
	for i, ref := range batch {
		n, err := found[i].Result()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			gone = append(gone, ref.ID)
		}
	}
	return gone, nil
}
