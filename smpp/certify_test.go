package smpp

import (
	"context"
	"encoding/binary"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// certification is a trial that can be made at a simulated operator.
func certification(t *testing.T, cfg smsc.Config) (Certification, *smsc.Server) {
	t.Helper()
	cfg.Accounts = map[string]string{"mobileid": "s3cr3t7"}
	server, err := smsc.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	to, err := mobileid.ParseMSISDN(secretTo)
	if err != nil {
		t.Fatal(err)
	}
	c := Certification{Profile: testProfile(server.Addr(), 3), To: to, Burst: 8, ReceiptWait: 5 * time.Second}
	c.Profile.Account.Password = "s3cr3t7"
	c.Profile.Statuses = profile.Statuses{0x58: {Name: "RTHROTTLED", Class: profile.ClassPace}}
	return c, server
}

// certify makes the trial at a simulated operator, and returns the report and
// which steps went wrong.
func certify(t *testing.T, change func(c *Certification, s *smsc.Server)) (report string, wrong []string) {
	t.Helper()
	c, server := certification(t, smsc.Config{})
	if change != nil {
		change(&c, server)
	}
	announced, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	steps, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if !s.OK {
			wrong = append(wrong, s.Name)
		}
		if s.Took < 0 || s.Began.IsZero() || s.Name != "receipts" && !strings.HasPrefix(s.Name, "TLS_") && len(s.PDUs) == 0 && s.OK && !s.LeftOut {
			t.Errorf("%+v", s)
		}
	}
	if n := server.Count(); n > announced {
		t.Errorf("%d SMS, announced %d", n, announced)
	}
	var out strings.Builder
	if err := c.WriteReport(&out, steps); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{secretTo, secretTo[3:], "s3cr3t7", hexOf(secretTo), hexOf(secretTo[3:]), hexOf("s3cr3t7"), hexOf("Mobile-ID test")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in the report", secret)
		}
	}
	return out.String(), wrong
}

func hexOf(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte("0123456789abcdef"[text[i]>>4])
		b.WriteByte("0123456789abcdef"[text[i]&15])
	}
	return b.String()
}

func TestAnAccountIsCertified(t *testing.T) {
	report, wrong := certify(t, nil)
	if wrong != nil {
		t.Errorf("wrong: %v\n%s", wrong, report)
	}
	for _, want := range []string{
		"# SMPP account mobileid at beeline", "+998 90 *** ** 67", "all as expected", "without TLS",
		"| GSM 7-bit |", "| UCS-2 |", "2 part(s)", "8 accepted, 0 throttled", "12 DELIVRD", "| Signature |",
		"| unbind | answered with 0x00 | answered | yes |",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	both := func(c *Certification, _ *smsc.Server) {
		one := c.Profile.Binds[0]
		one.Type, one.Name = profile.Transmitter, "tx"
		two := one
		two.Type, two.Name = profile.Receiver, "rx"
		c.Profile.Binds = []profile.Bind{two, one}
	}
	if report, wrong := certify(t, both); wrong != nil || !strings.Contains(report, "| bind_receiver |") || !strings.Contains(report, "12 DELIVRD") {
		t.Errorf("with two binds wrong: %v\n%s", wrong, report)
	}
}

// What an operator's file rules out is left out and said, not passed: at one
// who takes nothing but UCS-2 no text goes in GSM 7-bit, and the report claims
// none.
func TestACertificationTriesTheAlphabetsOfTheFile(t *testing.T) {
	for charset, c := range map[sms.Charset]struct{ row, receipts string }{
		sms.CharsetGSM7:   {`| GSM 7-bit | accepted, with a message_id | 1 part(s), message_id `, "4 DELIVRD"},
		sms.CharsetLatin1: {`| Latin-1 | accepted, with a message_id | 1 part(s), message_id `, "4 DELIVRD"},
		sms.CharsetASCII:  {`| ASCII | accepted, with a message_id | 1 part(s), message_id `, "4 DELIVRD"},
		sms.CharsetUCS2:   {`| GSM 7-bit | nothing | left out: the charset of the operator's file is ucs2, every text goes in UCS-2 | left out |`, "4 DELIVRD"},
	} {
		t.Run(string(charset), func(t *testing.T) {
			var server *smsc.Server
			report, wrong := certify(t, func(c *Certification, s *smsc.Server) {
				c.Burst, c.Profile.Text.Charset, server = 0, charset, s
			})
			if wrong != nil || !strings.Contains(report, c.row) || !strings.Contains(report, c.receipts) || !strings.Contains(report, "all as expected") {
				t.Errorf("wrong: %v, no %q in\n%s", wrong, c.row, report)
			}
			for _, s := range server.Received() {
				if charset == sms.CharsetUCS2 && s.DataCoding != 8 {
					t.Errorf("data_coding %d to one who takes UCS-2 alone", s.DataCoding)
				}
			}
			if charset != sms.CharsetGSM7 && charset != sms.CharsetUCS2 && strings.Contains(report, "GSM 7-bit") {
				t.Errorf("GSM 7-bit in\n%s", report)
			}
		})
	}
}

// A host that swallows what is sent to it costs its own timer, not that of the
// next one.
func TestACertificationGivesEachHostItsTime(t *testing.T) {
	report, wrong := certify(t, func(c *Certification, s *smsc.Server) {
		c.Burst, c.Profile.Timers.Dial = 0, 100*time.Millisecond
		c.Profile.Binds[0].Hosts = []string{"192.0.2.1:2775", s.Addr()}
		c.Dial = func(ctx context.Context, host string, secure profile.TLS) (net.Conn, error) {
			if host != s.Addr() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, host, secure)
		}
	})
	if wrong != nil || !strings.Contains(report, "bound at ") {
		t.Errorf("wrong: %v\n%s", wrong, report)
	}
}

// conversation notes when enquire_link is answered on a connection.
type conversation struct {
	net.Conn
	mu       sync.Mutex
	answered []time.Time
}

func (c *conversation) Write(b []byte) (int, error) {
	if len(b) == wire.HeaderLen && wire.Command(binary.BigEndian.Uint32(b[4:])) == wire.EnquireLink.Response() {
		c.mu.Lock()
		c.answered = append(c.answered, time.Now())
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

// While one of two connections is waited for, the other one is not deaf: the
// operator would end it.
func TestACertificationAnswersOnBothConnections(t *testing.T) {
	const every = 20 * time.Millisecond
	c, server := certification(t, smsc.Config{Enquire: every, ReceiptDelay: 30 * every})
	if err := server.SetFault(smsc.Fault{Kind: smsc.FaultDelay, Delay: 10 * every}); err != nil {
		t.Fatal(err)
	}
	tx := c.Profile.Binds[0]
	tx.Name, tx.Type = "tx", profile.Transmitter
	rx := tx
	rx.Name, rx.Type = "rx", profile.Receiver
	c.Burst, c.Profile.Binds = 0, []profile.Bind{tx, rx}
	var conns []*conversation
	c.Dial = func(ctx context.Context, host string, secure profile.TLS) (net.Conn, error) {
		conn, err := dial(ctx, host, secure)
		conns = append(conns, &conversation{Conn: conn})
		return conns[len(conns)-1], err
	}
	steps, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if !s.OK {
			t.Errorf("%s: %s", s.Name, s.Observed)
		}
		deaf := map[string]int{"several parts": 1, "receipts": 0}
		of, ok := deaf[s.Name]
		if !ok {
			continue
		}
		during := func(at time.Time) bool { return at.After(s.Began) && at.Before(s.Began.Add(s.Took)) }
		if !slices.ContainsFunc(conns[of].answered, during) {
			t.Errorf("%s: no enquire_link was answered on %s in %s", s.Name, c.Profile.Binds[of].Name, s.Took)
		}
	}
}

// A report names what the two sides agreed on about TLS.
func TestACertificationOverTLSSaysWhoseCertificate(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	until := time.Now().Add(time.Hour)
	good, goodKey := theirs.issue("smsc", until)
	client, clientKey := ours.issue("mobileid", until)
	report, wrong := certify(t, func(c *Certification, s *smsc.Server) {
		c.Burst = 0
		c.Profile.Binds[0].Hosts = []string{secure(t, s.Addr(), good, goodKey, ours)}
		c.Profile.Binds[0].TLS = profile.TLS{Enabled: true, CAFile: theirs.file, CertFile: client, KeyFile: clientKey}
	})
	if wrong != nil {
		t.Errorf("wrong: %v\n%s", wrong, report)
	}
	for _, want := range []string{
		"| TLS_transceiver |", "TLS 1.3", "CN=smsc until " + until.UTC().Format(time.DateOnly), "; refused without its authority |",
		"| bind_transceiver | bound | bound at ",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	report, wrong = certify(t, func(c *Certification, s *smsc.Server) {
		c.Profile.Binds[0].Hosts = []string{secure(t, s.Addr(), good, goodKey, ours)}
		c.Profile.Binds[0].TLS = profile.TLS{Enabled: true, CAFile: ours.file, CertFile: client, KeyFile: clientKey}
	})
	if strings.Join(wrong, " ") != "TLS_transceiver" || strings.Contains(report, "| bind_transceiver |") || !strings.Contains(report, "unknown authority") {
		t.Errorf("of another authority, wrong: %v\n%s", wrong, report)
	}
}

// Throttling a burst is what is expected, refusing it otherwise is not.
func TestACertificationTellsThrottlingFromRefusing(t *testing.T) {
	report, wrong := certify(t, func(_ *Certification, s *smsc.Server) {
		if err := s.SetFault(smsc.Fault{Kind: smsc.FaultThrottle, Rate: 0.1, Burst: 6}); err != nil { // 4 SMS go before the burst
			t.Fatal(err)
		}
	})
	if wrong != nil || !regexp.MustCompile(`[1-9] accepted, [1-9] throttled, 0 refused otherwise`).MatchString(report) {
		t.Errorf("wrong: %v\n%s", wrong, report)
	}
	_, wrong = certify(t, func(c *Certification, s *smsc.Server) {
		c.Profile.Statuses = profile.Statuses{0x58: {Name: "RTHROTTLED", Class: profile.ClassPermanent}}
		if err := s.SetFault(smsc.Fault{Kind: smsc.FaultThrottle, Rate: 0.1, Burst: 6}); err != nil {
			t.Fatal(err)
		}
	})
	if strings.Join(wrong, " ") != "throttling" {
		t.Errorf("where it is no throttling: %v", wrong)
	}
}

// A report says what is not as it should be, and says it of that step.
func TestACertificationSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		fault smsc.Fault
		wrong string // steps
		says  string
	}{
		"a bind refused":  {smsc.Fault{Kind: smsc.FaultRefuseBind}, "bind_transceiver", "bind refused with 0x0e"},
		"no receipts":     {smsc.Fault{Kind: smsc.FaultNoReceipt, Count: 1}, "receipts", "1 without a final receipt"},
		"a text refused":  {smsc.Fault{Kind: smsc.FaultStatus, Status: 0x0A, Count: 1}, "GSM 7-bit", "refused with 0x0a"},
		"undelivered":     {smsc.Fault{Kind: smsc.FaultReceipt, State: "UNDELIV", Count: 1}, "", "1 UNDELIV"},
		"no answer":       {smsc.Fault{Kind: smsc.FaultNoAnswer, Count: 1}, "GSM 7-bit", "no answer in time"},
		"enquire ignored": {smsc.Fault{Kind: smsc.FaultIgnoreLink}, "enquire_link", "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			report, wrong := certify(t, func(x *Certification, s *smsc.Server) {
				x.Burst, x.ReceiptWait, x.Profile.Timers.Response = 0, 300*time.Millisecond, 300*time.Millisecond
				if err := s.SetFault(c.fault); err != nil {
					t.Fatal(err)
				}
			})
			if strings.Join(wrong, " ") != c.wrong || !strings.Contains(report, c.says) {
				t.Errorf("wrong: %v, want %q, and %q in\n%s", wrong, c.wrong, c.says, report)
			}
		})
	}
	report, wrong := certify(t, func(x *Certification, s *smsc.Server) {
		x.Profile.Account.Password = "another"
	})
	if strings.Join(wrong, " ") != "bind_transceiver" || strings.Contains(report, "| unbind |") {
		t.Errorf("after a refused bind: %v\n%s", wrong, report)
	}
}
