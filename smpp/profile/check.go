package profile

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
)

// Mistake is one thing wrong with a profile.
type Mistake struct {
	Path string // of the field, for example binds[0].hosts[1]
	Text string // what is wanted
}

// mistakes collects them.
type mistakes []Mistake

func (m *mistakes) addf(path, format string, args ...any) {
	*m = append(*m, Mistake{Path: path, Text: fmt.Sprintf(format, args...)})
}

// Check lists everything wrong with a profile. Whether files named in it can be
// read is not looked at here.
func (p Profile) Check() []Mistake {
	var wrong mistakes
	p.Account.check(&wrong)
	checkBinds(p.Binds, &wrong)
	p.Timers.check(&wrong)
	p.Pace.check(&wrong)
	checkSenders(p.Senders, &wrong)
	oneOf("text.charset", p.Text.Charset, &wrong, sms.CharsetGSM7, sms.CharsetLatin1, sms.CharsetASCII, sms.CharsetUCS2)
	oneOf("text.parts", p.Text.Parts, &wrong, sms.StyleUDH8, sms.StyleUDH16, sms.StyleSAR, sms.StylePayload)
	p.Validity.check(&wrong)
	oneOf("ids.answer", p.IDs.Answer, &wrong, AsIs, Decimal, Hex)
	oneOf("ids.receipt", p.IDs.Receipt, &wrong, AsIs, Decimal, Hex)
	p.Statuses.check(&wrong)
	p.Receipts.check(&wrong)
	p.Charging.check(&wrong)
	return wrong
}

func (c Charging) check(wrong *mistakes) {
	oneOf("charging.by", c.By, wrong, mobileid.ChargingLedger, mobileid.ChargingDiameter, mobileid.ChargingOperator)
	oneOf("charging.duplicates", c.Duplicates, wrong, DuplicatesDebited, DuplicatesFree, DuplicatesRefunded)
	if c.Timeout < 100*time.Millisecond || c.Timeout > 30*time.Second {
		wrong.addf("charging.timeout", "from 100ms to 30s")
	}
	if c.AtOnce < 1 {
		wrong.addf("charging.at_once", "at least 1")
	}
}

func (a Account) check(wrong *mistakes) {
	if a.SystemID == "" || len(a.SystemID) > 15 {
		wrong.addf("account.system_id", "1 to 15 characters (SMPP 3.4, 5.2.1)")
	}
	if len(a.Password) > 8 {
		wrong.addf("account.password", "at most 8 characters (SMPP 3.4, 5.2.2)")
	}
	if len(a.SystemType) > 12 {
		wrong.addf("account.system_type", "at most 12 characters (SMPP 3.4, 5.2.3)")
	}
}

func checkBinds(binds []Bind, wrong *mistakes) {
	sends, receives := false, false
	names := map[string]bool{}
	for i, b := range binds {
		path := fmt.Sprintf("binds[%d]", i)
		sends = sends || b.Type.Carries()
		receives = receives || b.Type == Transceiver || b.Type == Receiver
		switch {
		case b.Name == "" || len(b.Name) > 16 || strings.ContainsAny(b.Name, " /#.\""):
			wrong.addf(path+".name", "want a word of at most 16 characters, without space, slash, dot and #")
		case names[b.Name]:
			wrong.addf(path+".name", "%q stands twice", b.Name)
		}
		names[b.Name] = true
		oneOf(path+".type", b.Type, wrong, Transceiver, Transmitter, Receiver)
		if len(b.Hosts) == 0 {
			wrong.addf(path+".hosts", "at least one host:port")
		}
		for n, h := range b.Hosts {
			_, port, err := net.SplitHostPort(h)
			if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
				wrong.addf(fmt.Sprintf("%s.hosts[%d]", path, n), "want host:port, the port a number up to 65535")
			}
		}
		if b.Type.Carries() && (b.Window < 1 || b.Window > MaxWindow) {
			wrong.addf(path+".window", "from 1 to %d", MaxWindow)
		}
		b.TLS.check(path+".tls", wrong)
	}
	if !sends {
		wrong.addf("binds", "at least one transceiver or transmitter: nothing could be sent")
	}
	if !receives {
		wrong.addf("binds", "at least one transceiver or receiver: no receipt would come")
	}
}

// MaxWindow bounds the window of one bind.
const MaxWindow = 5000

func (t TLS) check(path string, wrong *mistakes) {
	if !t.Enabled && (t.CAFile != "" || t.ServerName != "" || t.CertFile != "" || t.KeyFile != "") {
		wrong.addf(path+".enabled", "false, and yet the connection is described: say true, or leave the rest out")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		wrong.addf(path, "cert_file and key_file go together")
	}
}

func (t Timers) check(wrong *mistakes) {
	for _, f := range []struct {
		name  string
		value time.Duration
		low   time.Duration
	}{
		{"dial", t.Dial, 100 * time.Millisecond},
		{"bind", t.Bind, 100 * time.Millisecond},
		{"response", t.Response, 100 * time.Millisecond},
		{"write", t.Write, 100 * time.Millisecond},
		{"enquire_link", t.EnquireLink, 100 * time.Millisecond},
		{"reconnect_min", t.ReconnectMin, 10 * time.Millisecond},
		{"reconnect_max", t.ReconnectMax, t.ReconnectMin},
		{"refused", t.Refused, time.Second},
	} {
		if f.value < f.low {
			wrong.addf("timers."+f.name, "at least %s", f.low)
		}
	}
	if t.Inactivity != 0 && t.Inactivity < 2*t.EnquireLink {
		wrong.addf("timers.inactivity", "0, or at least twice enquire_link")
	}
}

func (p Pace) check(wrong *mistakes) {
	if p.Rate < 0 {
		wrong.addf("pace.rate", "submit_sm a second, or 0 when the operator has not said")
	}
	if p.Burst < 1 {
		wrong.addf("pace.burst", "at least 1")
	}
	if p.Rate == 0 && !p.Adaptive {
		wrong.addf("pace.adaptive", "false needs a rate: there is nothing to keep to")
	}
}

func checkSenders(senders []Sender, wrong *mistakes) {
	kinds := map[string]bool{}
	for i, s := range senders {
		path := fmt.Sprintf("senders[%d]", i)
		if kinds[s.Kind] {
			wrong.addf(path+".kind", "%q stands twice", s.Kind)
		}
		kinds[s.Kind] = true
		if s.Addr == "" || len(s.Addr) > 20 {
			wrong.addf(path+".addr", "1 to 20 characters (SMPP 3.4, 5.2.8)")
		}
		if s.TON == 5 && len(s.Addr) > 11 {
			wrong.addf(path+".addr", "an alphanumeric sender (ton 5) has at most 11 characters")
		}
		if len(s.ServiceType) > 5 {
			wrong.addf(path+".service_type", "at most 5 characters (SMPP 3.4, 5.2.11)")
		}
	}
	if !kinds[""] {
		wrong.addf("senders", `one with kind "" is needed, for every kind without a sender of its own`)
	}
}

func (v Validity) check(wrong *mistakes) {
	oneOf("validity.format", v.Format, wrong, Relative, Absolute, NoPeriod)
	if v.Min < 0 || v.Max < v.Min || v.Max > 30*24*time.Hour {
		wrong.addf("validity.max", "from min to 720h")
	}
	if v.Offset%(15*time.Minute) != 0 || v.Offset < -12*time.Hour || v.Offset > 12*time.Hour {
		wrong.addf("validity.offset", "whole quarters of an hour, from -12h to 12h (SMPP 3.4, 7.1.1.1)")
	}
}

// Check lists everything wrong with a table.
func (s Statuses) Check() []Mistake {
	var wrong mistakes
	s.check(&wrong)
	return wrong
}

func (s Statuses) check(wrong *mistakes) {
	codes := make([]uint32, 0, len(s))
	for c := range s {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	for _, c := range codes {
		r, path := s[c], fmt.Sprintf("statuses[0x%02x]", c)
		if c == 0 {
			wrong.addf(path, "0 is success and has no rule")
		}
		oneOf(path+".class", r.Class, wrong, Classes()...)
		if r.Class == ClassRetry && r.After < 100*time.Millisecond {
			wrong.addf(path+".after", "at least 100ms")
		}
		if r.Class != ClassRetry && (r.After != 0 || r.Tries != 0) {
			wrong.addf(path, "after and tries belong to class retry")
		}
		if r.Tries < 0 {
			wrong.addf(path+".tries", "not below 0")
		}
	}
}

func (r Receipts) check(wrong *mistakes) {
	for i, rule := range r.Rules {
		path := fmt.Sprintf("receipts.rules[%d]", i)
		if rule.Stat == "" {
			wrong.addf(path+".stat", "missing")
		}
		oneOf(path+".state", rule.State, wrong, Delivered, Undeliverable, Expired, Rejected, Failed, NotFinal)
		if rule.Balance && rule.State != Rejected && rule.State != Undeliverable {
			wrong.addf(path+".balance", "belongs to rejected or undeliverable")
		}
	}
}

// oneOf says which words a field knows.
func oneOf[T ~string](path string, value T, wrong *mistakes, known ...T) {
	if slices.Contains(known, value) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	wrong.addf(path, "want one of %s", strings.Join(words, ", "))
}
