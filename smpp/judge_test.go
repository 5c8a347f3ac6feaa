package smpp

import (
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	far := now.Add(time.Hour)
	ans := func(s wire.Status) answer {
		return answer{
			fate: answered, sequence: 1, writtenAt: now, answeredAt: now,
			frame: wire.Frame{Command: wire.SubmitSM.Response(), Status: s, Sequence: 1},
		}
	}
	silent := answer{fate: timedOut, sequence: 2, writtenAt: now}
	gone := answer{fate: lost, sequence: 3, writtenAt: now}
	unwritten := answer{fate: notWritten}
	nack := ans(0)
	nack.frame.Command = wire.GenericNack
	const again, readmit = "written again", "admitted again"
	for name, c := range map[string]struct {
		answers  []answer
		tries    int
		hold     time.Duration
		deadline time.Time
		want     string // state and reason, or what is done next
	}{
		"accepted":                       {answers: []answer{ans(0)}, want: "sent "},
		"too fast":                       {answers: []answer{ans(0x58)}, want: again},
		"account's queue full":           {answers: []answer{ans(0x14)}, want: again},
		"queue of one number":            {answers: []answer{ans(0x14)}, hold: 3 * time.Second, want: "retry smpp_0x14"},
		"system error":                   {answers: []answer{ans(0x08)}, tries: 100, want: "retry smpp_0x08 tried"},
		"one more try":                   {answers: []answer{ans(0x45)}, want: "retry smpp_0x45 tried"},
		"no more tries":                  {answers: []answer{ans(0x45)}, tries: 1, want: "rejected smpp_0x45"},
		"invalid destination":            {answers: []answer{ans(0x0B)}, want: "rejected smpp_0x0b"},
		"wrong settings":                 {answers: []answer{ans(0x0A)}, want: "rejected smpp_0x0a"},
		"in no table":                    {answers: []answer{ans(0x4FE)}, want: "rejected smpp_0x4fe"},
		"trouble of the bind":            {answers: []answer{ans(0x04)}, want: readmit},
		"the subscriber cannot pay":      {answers: []answer{ans(0x400)}, want: "no_funds subscriber_cannot_pay"},
		"maybe taken":                    {answers: []answer{ans(0x401)}, want: "in_doubt smpp_0x401"},
		"nack without a fault":           {answers: []answer{nack}, want: "rejected smpp_0xff"},
		"never written":                  {answers: []answer{unwritten}, want: readmit},
		"no answer":                      {answers: []answer{silent}, want: "in_doubt no_answer"},
		"link lost":                      {answers: []answer{gone}, want: "in_doubt link_lost"},
		"one part silent":                {answers: []answer{ans(0), silent}, want: "in_doubt no_answer"},
		"one part refused":               {answers: []answer{ans(0), ans(0x0B)}, want: "rejected smpp_0x0b"},
		"one part too fast":              {answers: []answer{ans(0), ans(0x58)}, want: again},
		"one part later":                 {answers: []answer{ans(0x08), ans(0), ans(0x58)}, want: "retry smpp_0x08 tried"},
		"one part was never written":     {answers: []answer{ans(0), unwritten}, want: readmit},
		"refused beats too fast":         {answers: []answer{ans(0x58), ans(0x0B)}, want: "rejected smpp_0x0b"},
		"doubt beats refused":            {answers: []answer{silent, ans(0x0B)}, want: "in_doubt no_answer"},
		"later, close to the end":        {answers: []answer{ans(0x08)}, deadline: now.Add(lastTry + 50*time.Millisecond), want: "retry smpp_0x08 tried"},
		"later, no time left":            {answers: []answer{ans(0x08)}, deadline: now.Add(time.Second), want: "expired smpp_0x08 tried"},
		"one number, longer than it has": {answers: []answer{ans(0x14)}, hold: time.Minute, deadline: now.Add(time.Second), want: "expired smpp_0x14"},
		"nothing says the deadline":      {answers: []answer{ans(0x08)}, deadline: time.Time{}.Add(1), want: "retry smpp_0x08 tried"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &job{link: "here", admission: mobileid.Admission{Deadline: c.deadline, Tries: c.tries}}
			switch c.deadline {
			case time.Time{}:
				j.admission.Deadline = far
			case time.Time{}.Add(1):
				j.admission.Deadline = time.Time{}
			}
			for _, a := range c.answers {
				j.parts = append(j.parts, partFate{answer: a, link: "there", operatorID: "op1"})
			}
			got := map[step]string{writeAgain: again, admitAgain: readmit}[j.judge(testProfile("", 1).Statuses, c.hold, now)]
			o := j.outcome
			if got == "" {
				got = string(o.State) + " " + o.Reason
				if o.Tried {
					got += " tried"
				}
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if (o.State == mobileid.MessageRetry) == o.RetryAt.IsZero() {
				t.Errorf("retry at %v in %s", o.RetryAt, o.State)
			}
			if !j.admission.Deadline.IsZero() && o.RetryAt.After(j.admission.Deadline) {
				t.Errorf("retry at %v, after the deadline", o.RetryAt)
			}
			if o.State == mobileid.MessageSent && (o.Parts[0].OperatorID != "op1" || o.Parts[0].Link != "there") {
				t.Errorf("part %+v", o.Parts[0])
			}
		})
	}
}

// A part that the operator took under an earlier admission says nothing now.
func TestJudgePassesOverPartsTakenBefore(t *testing.T) {
	j := &job{parts: make([]partFate, 2)}
	j.admission.Taken = mobileid.PartSet(0).With(1)
	j.parts[1].answer = answer{fate: answered, sequence: 1, answeredAt: time.Now()}
	if next := j.judge(nil, 0, time.Now()); next != storeIt || j.outcome.State != mobileid.MessageSent {
		t.Errorf("%v %+v", next, j.outcome)
	}
	if o := j.outcome; len(o.Parts) != 1 || o.Parts[0].Part != 2 || o.Taken() != mobileid.PartSet(0).With(2) {
		t.Errorf("%+v", o)
	}
}

// The pause between tries doubles up to half a minute, and is never shorter than
// the table says.
func TestThePauseBetweenTriesOfAMessageGrows(t *testing.T) {
	for first, want := range map[time.Duration][]time.Duration{
		2 * time.Second: {2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second},
		time.Hour:       {time.Hour, time.Hour},
	} {
		for tries, pause := range want {
			table := profile.Statuses{0x08: {Class: profile.ClassRetry, After: first}}
			a := answer{fate: answered, frame: wire.Frame{Command: wire.SubmitSM.Response(), Status: 0x08}}
			if r := rulingOf(a, table, tries); r.after != pause {
				t.Errorf("%v after %d tries: %v, want %v", first, tries, r.after, pause)
			}
		}
		if got := pauseAfter(first, 1_000_000); got != want[len(want)-1] {
			t.Errorf("%v after a million tries: %v", first, got)
		}
	}
}
