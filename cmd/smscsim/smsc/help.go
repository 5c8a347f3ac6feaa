package smsc

import (
	"encoding/json"
	"fmt"
	"strings"
)

const helpHead = `smscsim control API (JSON)

  GET /healthz              200 and counters: binds, submit_sm received, and of these refused
  GET /messages             submit_sm received, oldest first; ?to=998901234567 ?after=2026-01-02T15:04:05Z ?limit=100 (the newest)
  GET /events               the same, receipts and inbound messages, live, as server-sent events
  GET /faults               faults in force, and what each kind reads
  POST /faults              add one: {"kind":"status","count":3,"status":88}
  DELETE /faults?kind=KIND  end those of a kind
  POST /receipts            not a fault: {"message_id":"...","state":"DELIVRD"} sends a further receipt now
  POST /inbound             not a fault: {"from":"998901234567","to":"MobileID","text":"STOP"} is a message from a handset
  POST /reset               forget faults, messages and waiting receipts

Faults are in force until they are lifted, or "count" times, or "for" a time
like "10s"; with "to" they are only for submit_sm to this number. A kind reads
only what stands in brackets, after a star what it must have. Each line is the
body of:

  curl -s -d BODY http://127.0.0.1:8775/faults

`

// Help describes the control API, with an example of each fault.
func Help() string {
	var b strings.Builder
	b.WriteString(helpHead)
	for _, k := range kinds {
		f := k.example
		f.Kind = k.Kind
		body, err := json.Marshal(f)
		if err != nil {
			continue // words and numbers always marshal
		}
		fmt.Fprintf(&b, "  %s\n      %s%s\n", "'"+string(body)+"'", k.Does, k.brackets())
	}
	return b.String()
}

func (k Kind) brackets() string {
	if k.Once && len(k.Must)+len(k.May) == 0 {
		return "; once, now"
	}
	words := make([]string, 0, len(k.Must)+len(k.May))
	for _, m := range k.Must {
		words = append(words, "*"+m)
	}
	words = append(words, k.May...)
	out := " [" + strings.Join(words, " ") + "]"
	if len(k.Forms) > 0 {
		out += "\n      forms: " + strings.Join(k.Forms, " ")
	}
	if k.Once {
		out += "; once, now"
	}
	return out
}
