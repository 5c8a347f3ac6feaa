package smsc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is one scripted fault. What each kind reads is in Kinds; a field that a
// kind does not read is refused, so that nobody waits for what cannot happen.
//
//nolint:recvcheck // encoding/json wants both kinds of receiver
type Fault struct {
	Kind   FaultKind     `json:"kind"`
	Count  int           `json:"count,omitempty"`  // how many times; 0 = until it is lifted
	For    time.Duration `json:"-"`                // how long; 0 = until it is lifted. JSON: "10s"
	To     string        `json:"to,omitempty"`     // only for this destination_addr, digits without plus
	Status uint32        `json:"status,omitempty"` // command_status
	State  string        `json:"state,omitempty"`  // of the receipt, for example UNDELIV
	Delay  time.Duration `json:"-"`                // JSON: "500ms"
	N      int           `json:"n,omitempty"`      // a number of PDUs, binds or times
	Rate   float64       `json:"rate,omitempty"`   // submit_sm a second
	Burst  int           `json:"burst,omitempty"`  // submit_sm at once; 0 = 1
	Form   string        `json:"form,omitempty"`   // one of the kind's forms
	// ReceiptForm is the form of the id in receipts; "" = Form.
	ReceiptForm string `json:"receipt_form,omitempty"`
	Bytes       []byte `json:"-"` // JSON: hexadecimal
}

// faultJSON is a Fault as people write it.
type faultJSON struct {
	plainFault
	For   string `json:"for,omitempty"`
	Delay string `json:"delay,omitempty"`
	Bytes string `json:"bytes,omitempty"`
}

type plainFault Fault

// MarshalJSON writes times as "500ms" and bytes in hexadecimal.
func (f Fault) MarshalJSON() ([]byte, error) {
	out := faultJSON{plainFault: plainFault(f), Bytes: hex.EncodeToString(f.Bytes)}
	if f.For > 0 {
		out.For = f.For.String()
	}
	if f.Delay > 0 {
		out.Delay = f.Delay.String()
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses unknown fields.
func (f *Fault) UnmarshalJSON(raw []byte) (err error) {
	var in faultJSON
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&in); err != nil {
		return err
	}
	*f = Fault(in.plainFault)
	if in.For != "" {
		if f.For, err = time.ParseDuration(in.For); err != nil {
			return fmt.Errorf("for: want a time like 10s: %w", err)
		}
	}
	if in.Delay != "" {
		if f.Delay, err = time.ParseDuration(in.Delay); err != nil {
			return fmt.Errorf("delay: want a time like 500ms: %w", err)
		}
	}
	if f.Bytes, err = hex.DecodeString(in.Bytes); err != nil {
		return fmt.Errorf("bytes: want hexadecimal: %w", err)
	}
	return nil
}

// given names the fields that are set, as JSON does.
func (f Fault) given() []string {
	var out []string
	for _, x := range []struct {
		name string
		set  bool
	}{
		{"count", f.Count != 0},
		{"for", f.For != 0},
		{"to", f.To != ""},
		{"status", f.Status != 0},
		{"state", f.State != ""},
		{"delay", f.Delay != 0},
		{"n", f.N != 0},
		{"rate", f.Rate != 0},
		{"burst", f.Burst != 0},
		{"form", f.Form != ""},
		{"receipt_form", f.ReceiptForm != ""},
		{"bytes", len(f.Bytes) > 0},
	} {
		if x.set {
			out = append(out, x.name)
		}
	}
	return out
}

// check fills the defaults and says what is wrong.
func (f *Fault) check() error {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Kind == f.Kind })
	if i < 0 {
		return fmt.Errorf("kind: want one of %s", kindNames())
	}
	if f.Count < 0 || f.For < 0 || f.Delay < 0 || f.N < 0 || f.Rate < 0 || f.Burst < 0 {
		return errors.New("count, for, delay, n, rate, burst: not below zero")
	}
	return kinds[i].check(f)
}

func (k Kind) check(f *Fault) error {
	given := f.given()
	for _, name := range given {
		if !slices.Contains(k.Must, name) && !slices.Contains(k.May, name) {
			return fmt.Errorf("%s: %s does not read it; it reads %s", name, k.Kind, k.reads())
		}
	}
	for _, name := range k.Must {
		if !slices.Contains(given, name) {
			return fmt.Errorf("%s: missing; %s reads %s", name, k.Kind, k.reads())
		}
	}
	for name, word := range map[string]string{"form": f.Form, "receipt_form": f.ReceiptForm} {
		if word != "" && !slices.Contains(k.Forms, word) {
			return fmt.Errorf("%s: want one of %s", name, strings.Join(k.Forms, ", "))
		}
	}
	if f.State != "" && !slices.Contains(receiptStates, f.State) {
		return fmt.Errorf("state: want one of %s", strings.Join(receiptStates, ", "))
	}
	if f.Status == 0 {
		f.Status = uint32(k.status)
	}
	if k.counted {
		f.Count = max(f.Count, 1)
	}
	return nil
}

func (k Kind) reads() string {
	if len(k.Must)+len(k.May) == 0 {
		return "nothing"
	}
	return strings.Join(append(slices.Clone(k.Must), k.May...), ", ")
}
