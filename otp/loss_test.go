package otp

import (
	"fmt"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func epoch(t *testing.T, s *Service) string {
	t.Helper()
	e, err := s.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEpochStaysUntilRedisForgets(t *testing.T) {
	s, c := fixture(t)
	first := epoch(t, s)
	c.advance(1000 * time.Hour)
	if again := epoch(t, s); again != first || len(first) != 32 {
		t.Errorf("epoch %q, then %q", first, again)
	}
	other := service(t, client(t, c.server.Addr()), c.now, keyB)
	if theirs := epoch(t, other); theirs != first {
		t.Errorf("another process sees %q, not %q", theirs, first)
	}
	c.server.FlushAll()
	if after := epoch(t, s); after == first {
		t.Error("the loss of everything does not show")
	}
}

func TestEpochShowsTheLossOfOneServer(t *testing.T) {
	s, c := fixture(t)
	for i := range epochKeys {
		before := epoch(t, s)
		c.server.Del(epochKey(i))
		if epoch(t, s) == before {
			t.Errorf("the loss of key %d does not show", i)
		}
	}
}

func TestEpochKeysReachEveryServerOfSixteen(t *testing.T) {
	seen := map[int]bool{}
	for i := range epochKeys {
		seen[slot(fmt.Sprintf("%02d", i))/(16384/16)] = true
	}
	if len(seen) != 16 {
		t.Errorf("the epoch keys reach %d of 16 equal ranges of slots", len(seen))
	}
}

// slot is the hash slot of a tag (Redis Cluster specification: CRC16-XMODEM).
func slot(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}

func TestMissingNamesExactlyTheLostCodes(t *testing.T) {
	s, c := fixture(t)
	var refs []mobileid.IssuedRef
	want := map[mobileid.ID]bool{}
	for i := range 2*missingBatch + 7 {
		id := challengeID(t, fmt.Sprint(i))
		nonce := "never issued"
		if i%100 != 3 {
			nonce = issue(t, s, id, time.Minute, 3).Nonce
		} else {
			want[id] = true
		}
		refs = append(refs, mobileid.IssuedRef{ID: id, Nonce: nonce})
	}
	gone, err := s.Missing(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range gone {
		if !want[id] {
			t.Error("a living code is called missing")
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("%d lost codes are not named", len(want))
	}
	c.server.FlushAll()
	if gone, err = s.Missing(t.Context(), refs); err != nil || len(gone) != len(refs) {
		t.Errorf("%d of %d missing, %v", len(gone), len(refs), err)
	}
	if gone, err = s.Missing(t.Context(), nil); err != nil || len(gone) != 0 {
		t.Errorf("%d of none missing, %v", len(gone), err)
	}
}
