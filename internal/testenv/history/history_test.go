package history

import (
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
)

func TestCheckFindsEachBrokenPromiseAndExcusesOnlyWhatFaultsDo(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	submit := func(r *Recorder, name string, lane mobileid.Lane, times int) {
		for range times {
			r.Submitted(name, lane)
		}
	}
	tests := []struct {
		name    string
		record  func(*Recorder)
		allowed Allowed
		want    string // the promises broken, in order
	}{
		{"a clean life, told twice, verified twice", func(r *Recorder) {
			r.Accepted("a", at(1))
			r.Accepted("a", at(2))
			r.Ended("a", "confirmed", at(3))
			r.Ended("a", "confirmed", at(9))
			r.Confirmed("a", "c1")
			r.Confirmed("a", "c1")
			submit(r, "m", mobileid.LaneOTP, 1)
		}, Allowed{Within: 2 * time.Second}, ""},
		{"never ended", func(r *Recorder) { r.Accepted("a", at(1)) }, Allowed{}, "P1"},
		{"a 503 may be anything", func(r *Recorder) { r.Ended("a", "expired", at(1)) }, Allowed{}, ""},
		{"ended late", func(r *Recorder) {
			r.Accepted("a", at(1))
			r.Ended("a", "expired", at(4))
		}, Allowed{Within: 2 * time.Second}, "P1"},
		{"ended in two states", func(r *Recorder) {
			r.Accepted("a", at(1))
			r.Ended("a", "expired", at(2))
			r.Ended("a", "confirmed", at(2))
		}, Allowed{}, "P1"},
		{"a code worked twice", func(r *Recorder) {
			r.Confirmed("a", "c1")
			r.Confirmed("a", "c2")
		}, Allowed{}, "P6"},
		{"a second SMS without a fault", func(r *Recorder) { submit(r, "m", mobileid.LaneOTP, 2) }, Allowed{}, "P5"},
		{"a second SMS in doubt", func(r *Recorder) {
			submit(r, "m", mobileid.LaneOTP, 2)
		}, Allowed{Doubtful: 1}, ""},
		{"more again than were in doubt", func(r *Recorder) {
			submit(r, "m", mobileid.LaneOTP, 2)
			submit(r, "n", mobileid.LaneOTP, 2)
		}, Allowed{Doubtful: 1}, "P5"},
		{"a code sent three times", func(r *Recorder) {
			submit(r, "m", mobileid.LaneOTP, 3)
		}, Allowed{Doubtful: 5}, "P5"},
		{"a notice in doubt is not sent again", func(r *Recorder) {
			submit(r, "m", mobileid.LaneBulk, 2)
		}, Allowed{Doubtful: 5}, "P5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Recorder
			tt.record(&r)
			var got []string
			for _, v := range r.Check(tt.allowed) {
				t.Log(v)
				got = append(got, v.Promise)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("broken: %v, want %q", got, tt.want)
			}
		})
	}
}
