package smpp

import (
	"context"
	"testing"

	"mobileid/internal/mobileid"
)

func TestATakeThatFailsLeavesNothingInTheQueue(t *testing.T) {
	b := bridgeOn(nil) // no link: nothing is admitted
	over, cancel := context.WithCancel(t.Context())
	cancel()
	items := make([]mobileid.AdmitItem, 50)
	for i := range items {
		lane := mobileid.LaneOTP
		if i%2 == 1 {
			lane = mobileid.LaneBulk
		}
		items[i] = mobileid.AdmitItem{
			ID: mobileid.ID{byte(i)}, Source: mobileid.RecordRef{Topic: mobileid.TopicSMS("beeline", lane)},
		}
	}
	stays := b.intake.add(items[:3]) // of a caller who still waits
	for range 20 {
		if err := b.Take(over, items); mobileid.CodeOf(err) != "operator_busy" {
			t.Fatalf("Take: %v", err)
		}
	}
	if n := len(b.intake.otp) + len(b.intake.bulk); n != 3 || stays.over {
		t.Errorf("%d items wait, want the 3 of the caller who stays", n)
	}
}
