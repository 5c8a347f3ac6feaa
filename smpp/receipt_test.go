package smpp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

func decoded(t testing.TB, text string, tlv []wire.TLV) (m wire.Message) {
	t.Helper()
	raw, err := wire.Message{
		Command: wire.DeliverSM, ESMClass: 4, Source: wire.Address{TON: 1, NPI: 1, Addr: "998901234567"},
		ShortMessage: []byte(text), TLV: tlv,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.DecodeMessage(wire.Frame{Command: wire.DeliverSM, Raw: raw}, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReceiptSpellings(t *testing.T) {
	id := func(s string) []wire.TLV {
		return []wire.TLV{{Tag: wire.TagReceiptedMessageID, Value: append([]byte(s), 0)}}
	}
	with := func(s string, state byte) []wire.TLV {
		return append(id(s), wire.TLV{Tag: wire.TagMessageState, Value: []byte{state}})
	}
	for name, c := range map[string]struct {
		text string
		tlv  []wire.TLV
		want receipt
		bad  bool
	}{
		"appendix B": {
			text: "id:0123 sub:001 dlvrd:001 submit date:2601021504 done date:2601021505 stat:DELIVRD err:000 text:Kod 123",
			want: receipt{operatorID: "0123", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "000"},
		},
		"without spaces in the dates": {
			text: "id:a-b-c sub:1 dlvrd:0 submitdate:260102150405 donedate:260102150505 stat:UNDELIV err:1A Text:x",
			want: receipt{operatorID: "a-b-c", state: mobileid.MessageUndeliverable, stat: "UNDELIV", err: "1A"},
		},
		"the quoted text is not looked at": {
			text: "id:1 stat:EXPIRED err:1 text: id:2 stat:DELIVRD err:9",
			want: receipt{operatorID: "1", state: mobileid.MessageExpired, stat: "EXPIRED", err: "1"},
		},
		"parameters before text": {
			text: "id:161 stat:ENROUTE err:0", tlv: with("a1", 2),
			want: receipt{operatorID: "a1", state: mobileid.MessageDelivered, stat: "DELIVRD", err: "0"},
		},
		"only parameters": {
			tlv:  with("a1", 8),
			want: receipt{operatorID: "a1", state: mobileid.MessageRejected, stat: "REJECTD"},
		},
		"deleted is our failure":       {text: "id:1 stat:DELETED", want: receipt{operatorID: "1", state: mobileid.MessageFailed, stat: "DELETED"}},
		"FAILED is not delivered":      {text: "id:1 stat:FAILED", want: receipt{operatorID: "1", state: mobileid.MessageUndeliverable, stat: "FAILED"}},
		"accepted is not final":        {text: "id:1 stat:ACCEPTD", want: receipt{operatorID: "1", stat: "ACCEPTD"}},
		"unknown is not a failure":     {text: "id:1 stat:UNKNOWN", want: receipt{operatorID: "1", stat: "UNKNOWN"}},
		"a word nobody knows":          {text: "id:1 stat:WEIRD", want: receipt{operatorID: "1", stat: "WEIRD"}},
		"lower case":                   {text: "ID:1 STAT:delivrd", want: receipt{operatorID: "1", state: mobileid.MessageDelivered, stat: "DELIVRD"}},
		"no id":                        {text: "stat:DELIVRD", bad: true},
		"nothing":                      {bad: true},
		"comma separated, no keywords": {text: "00,0210021543,0210021544", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := readReceipt(decoded(t, c.text, c.tlv))
			if ok == c.bad {
				t.Fatalf("ok = %v, %+v", ok, got)
			}
			c.want.from = "998901234567"
			if ok && got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func FuzzReceiptText(f *testing.F) {
	f.Add([]byte("id:0123 sub:001 dlvrd:001 submit date:2601021504 stat:DELIVRD err:000 text:Kod 123"))
	f.Add([]byte("id: \x00 stat:\xff err:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := parseReceiptText(b)
		if len(r.stat) > 16 || len(r.err) > 16 || len(r.id) > 64 {
			t.Fatalf("fields too long: %+v", r)
		}
		// What stands behind text: never gets out.
		if at := bytes.Index(bytes.ToLower(b), []byte(" text:")); at == 0 && (r.id != "" || r.stat != "" || r.err != "") {
			t.Fatalf("read from the quoted text: %+v", r)
		}
		if id := operatorID(r.id); strings.ContainsAny(id, " \x00\n") {
			t.Fatalf("operator id %q", id)
		}
	})
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	far := now.Add(time.Hour)
	ans := func(s wire.Status) answer {
		raw := wire.AppendCString(nil, wire.SubmitSM.Response(), s, 1, "op1")
		return answer{
			fate: answered, sequence: 1, writtenAt: now, answeredAt: now,
			frame: wire.Frame{Command: wire.SubmitSM.Response(), Status: s, Sequence: 1, Raw: raw},
		}
	}
	silent := answer{fate: timedOut, sequence: 2, writtenAt: now}
	gone := answer{fate: lost, sequence: 3, writtenAt: now}
	unwritten := answer{fate: notWritten}
	nack := ans(0)
	nack.frame.Command = wire.GenericNack
	for name, c := range map[string]struct {
		answers  []answer
		deadline time.Time
		state    mobileid.MessageState
		reason   string
	}{
		"accepted":                  {[]answer{ans(0)}, far, mobileid.MessageSent, ""},
		"throttled":                 {[]answer{ans(0x58)}, far, mobileid.MessageRetry, "smpp_0x58"},
		"queue full":                {[]answer{ans(0x14)}, far, mobileid.MessageRetry, "smpp_0x14"},
		"system error":              {[]answer{ans(0x08)}, far, mobileid.MessageRetry, "smpp_0x08"},
		"temporary":                 {[]answer{ans(0x64)}, far, mobileid.MessageRetry, "smpp_0x64"},
		"invalid destination":       {[]answer{ans(0x0B)}, far, mobileid.MessageRejected, "smpp_0x0b"},
		"an operator's own":         {[]answer{ans(0x400)}, far, mobileid.MessageRejected, "smpp_0x400"},
		"nack without a fault":      {[]answer{nack}, far, mobileid.MessageRejected, "smpp_0xff"},
		"throttled, no time left":   {[]answer{ans(0x58)}, now.Add(time.Second), mobileid.MessageExpired, "smpp_0x58"},
		"no answer":                 {[]answer{silent}, far, mobileid.MessageInDoubt, "no_answer"},
		"link lost":                 {[]answer{gone}, far, mobileid.MessageInDoubt, "link_lost"},
		"one part silent":           {[]answer{ans(0), silent}, far, mobileid.MessageInDoubt, "no_answer"},
		"one part refused":          {[]answer{ans(0), ans(0x0B)}, far, mobileid.MessageRejected, "smpp_0x0b"},
		"one part throttled":        {[]answer{ans(0), ans(0x58)}, far, mobileid.MessageFailed, "partly_accepted"},
		"one part was never sent":   {[]answer{ans(0), unwritten}, far, mobileid.MessageInDoubt, "partly_written"},
		"every part throttled":      {[]answer{ans(0x58), ans(0x58)}, far, mobileid.MessageRetry, "smpp_0x58"},
		"refused beats throttled":   {[]answer{ans(0x58), ans(0x0B)}, far, mobileid.MessageRejected, "smpp_0x0b"},
		"retry close to the end":    {[]answer{ans(0x14)}, now.Add(3 * time.Second), mobileid.MessageRetry, "smpp_0x14"},
		"nothing says the deadline": {[]answer{ans(0x14)}, time.Time{}, mobileid.MessageRetry, "smpp_0x14"},
	} {
		t.Run(name, func(t *testing.T) {
			o := judge(c.answers, c.deadline, now)
			if o.State != c.state || o.Reason != c.reason {
				t.Errorf("%s %q", o.State, o.Reason)
			}
			if (o.State == mobileid.MessageRetry) == o.RetryAt.IsZero() {
				t.Errorf("retry at %v in %s", o.RetryAt, o.State)
			}
			if !c.deadline.IsZero() && o.RetryAt.After(c.deadline) {
				t.Errorf("retry at %v, after the deadline", o.RetryAt)
			}
			if o.State == mobileid.MessageSent && o.Parts[0].OperatorID != "op1" {
				t.Errorf("operator id %q", o.Parts[0].OperatorID)
			}
		})
	}
}

func TestMeterCountsTheLastSecond(t *testing.T) {
	var m meter
	at := time.UnixMilli(1_000_000)
	for i := range 20 {
		m.add(at.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	end := at.Add(1900 * time.Millisecond)
	if n := m.lastSecond(end); n != 10 {
		t.Errorf("%d in the last second, want 10", n)
	}
	if n := m.lastSecond(end.Add(time.Hour)); n != 0 {
		t.Errorf("%d an hour later", n)
	}
}
