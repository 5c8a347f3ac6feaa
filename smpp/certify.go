package smpp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
	"mobileid/smpp/trace"
	"mobileid/smpp/wire"
)

// Certification is a trial of an operator's account, alone: no bridge, no
// queue, no registry.
type Certification struct {
	Profile     profile.Profile
	Bind        string // its name; "" is the first that submit_sm go on
	To          mobileid.MSISDN
	Burst       int           // submit_sm at once, to see how the operator throttles; 0: that step is left out
	ReceiptWait time.Duration // for the receipts of what was accepted
	Dial        Dialer        // nil: as the bridge
}

// CertifiedStep is one step of a trial, as the report prints it.
type CertifiedStep struct {
	Name, Expected, Observed string
	OK                       bool
	LeftOut                  bool // by the operator's file; Observed says why
	Began                    time.Time
	Took                     time.Duration
	PDUs                     []string // masked, with time and direction
}

// The texts of a trial. The second has no place in the alphabets of data_coding
// 0, the third none in one part.
const (
	certifyShort    = "Mobile-ID test: @ $ [ ]"
	certifyCyrillic = "Mobile-ID: проверка UCS-2"
	certifyLong     = "Mobile-ID test of several parts. "
	certifyRepeat   = 6
)

// Messages is how many SMS the trial sends.
func (c Certification) Messages() (int, error) {
	n := c.Burst
	texts := []string{certifyCyrillic, strings.Repeat(certifyLong, certifyRepeat)}
	if c.Profile.Text.Charset != sms.CharsetUCS2 {
		texts = append(texts, certifyShort)
	}
	for _, text := range texts {
		pdus, err := c.submits(text, 1)
		if err != nil {
			return 0, err
		}
		n += len(pdus)
	}
	return n, nil
}

func (c Certification) submits(text string, ref uint16) ([][]byte, error) {
	now := time.Now()
	return submits(c.Profile, "", mobileid.SealedText{To: c.To.RevealDigits(), Text: text}, ref, now.Add(10*time.Minute), now)
}

// Run makes the trial. The steps say how it went; it ends at the first without
// which the others make no sense. The error says that it could not begin.
func (c Certification) Run(ctx context.Context) ([]CertifiedStep, error) {
	if c.Dial == nil {
		c.Dial = dial
	}
	t := &trial{
		Certification: c, accepted: map[string]bool{}, told: map[string]string{},
		came: make(chan brought), over: make(chan struct{}),
	}
	for _, b := range c.Profile.Binds {
		if b.Type.Carries() && t.bind.Name == "" && (c.Bind == "" || c.Bind == b.Name) {
			t.bind = b
		}
	}
	if t.bind.Name == "" {
		return nil, errors.New("the operator's file has no such bind that submit_sm go on")
	}
	binds := []profile.Bind{t.bind}
	for _, b := range c.Profile.Binds {
		if t.bind.Type == profile.Transmitter && b.Type == profile.Receiver && len(binds) == 1 {
			binds = append(binds, b)
		}
	}
	defer t.reading.Wait()
	defer t.close()
	ok := true
	for _, b := range binds {
		ok = ok && t.open(ctx, b)
	}
	if !ok {
		return t.steps, nil
	}
	stop := context.AfterFunc(ctx, t.close)
	defer stop()
	t.step("enquire_link", "answered with 0x00", t.enquire)
	if name, ok := alphabets[c.Profile.Text.Charset]; ok {
		t.step(name, "accepted, with a message_id", func() (string, error) { return t.send(certifyShort, 1) })
	} else {
		t.leaveOut(alphabets[sms.CharsetGSM7], "nothing", "left out: the charset of the operator's file is ucs2, every text goes in UCS-2")
	}
	t.step("UCS-2", "accepted, with a message_id", func() (string, error) { return t.send(certifyCyrillic, 2) })
	t.step("several parts", "each accepted, with a message_id of its own", func() (string, error) {
		return t.send(strings.Repeat(certifyLong, certifyRepeat), 3)
	})
	if c.Burst > 0 {
		t.step("throttling", "each accepted, or refused with a status of class pace", t.burst)
	}
	t.step("receipts", "a final one for each message_id", t.receipts)
	t.step("unbind", "answered with 0x00", t.unbind)
	return t.steps, nil
}

// alphabets are what data_coding 0 may be, as a report names it.
var alphabets = map[sms.Charset]string{sms.CharsetGSM7: "GSM 7-bit", sms.CharsetLatin1: "Latin-1", sms.CharsetASCII: "ASCII"}

// trial is a Certification under way. It does one thing at a time: what comes, on
// whichever connection, is answered while something is awaited.
type trial struct {
	Certification
	bind     profile.Bind
	conns    []*trialConn
	came     chan brought
	over     chan struct{} // closed by close
	once     sync.Once
	reading  sync.WaitGroup
	steps    []CertifiedStep
	accepted map[string]bool   // message_id, normal form
	told     map[string]string // message_id: stat of its final receipt
}

type trialConn struct {
	net.Conn
	sequence uint32
	err      error // that ended the reading
}

// brought is what has come on a connection.
type brought struct {
	on    *trialConn
	frame wire.Frame
	err   error
}

// step runs one step and notes how it went.
func (t *trial) step(name, expected string, do func() (string, error)) bool {
	began := time.Now()
	t.steps = append(t.steps, CertifiedStep{Name: name, Expected: expected, Began: began})
	observed, err := do()
	s := &t.steps[len(t.steps)-1]
	s.Observed, s.OK, s.Took = observed, err == nil, time.Since(began)
	if err != nil {
		s.Observed = strings.TrimPrefix(observed+"; "+err.Error(), "; ")
	}
	return s.OK
}

// leaveOut notes a step that is not for this operator.
func (t *trial) leaveOut(name, expected, why string) {
	t.steps = append(t.steps, CertifiedStep{Name: name, Expected: expected, Observed: why, OK: true, LeftOut: true, Began: time.Now()})
}

// note keeps a PDU for the report, masked. A burst would fill pages.
func (t *trial) note(who string, pdu []byte) {
	const most = 24
	s := &t.steps[len(t.steps)-1]
	switch {
	case len(s.PDUs) < most:
		s.PDUs = append(s.PDUs, fmt.Sprintf("%s %-8s %x", time.Now().UTC().Format("15:04:05.000"), who, trace.Mask(pdu)))
	case len(s.PDUs) == most:
		s.PDUs = append(s.PDUs, "and further ones")
	}
}

// open connects and binds. With TLS the connection is a step of its own.
func (t *trial) open(ctx context.Context, bind profile.Bind) bool {
	var conn net.Conn
	var host string
	var err error
	name := "TLS_" + string(bind.Type)
	if !bind.TLS.Enabled {
		t.leaveOut(name, "nothing", "left out: without TLS, as the operator's file says")
	} else if !t.step(name, "TLS 1.2 or later, a certificate of the agreed authority, and no other authority's is trusted", func() (observed string, err error) {
		if conn, host, err = t.dial(ctx, bind); err != nil {
			return "", err
		}
		return t.secured(ctx, bind.TLS, conn, host)
	}) {
		if conn != nil {
			_ = conn.Close()
		}
		return false
	}
	return t.step("bind_"+string(bind.Type), "bound", func() (string, error) {
		if conn == nil {
			if conn, host, err = t.dial(ctx, bind); err != nil {
				return "", err
			}
		}
		if err := t.bindOn(conn, bind); err != nil {
			return "connected to " + host, err
		}
		return "bound at " + host, nil
	})
}

// secured says what TLS was agreed on, and tries whether the operator would be
// believed without his authority. That second connection ends in its handshake.
func (t *trial) secured(ctx context.Context, secure profile.TLS, conn net.Conn, host string) (string, error) {
	c, ok := conn.(*tls.Conn)
	if !ok {
		return "", errors.New("the connection has no TLS")
	}
	s := c.ConnectionState()
	observed := fmt.Sprintf("connected to %s, %s, %s, the operator's certificate %s until %s", host, tls.VersionName(s.Version),
		tls.CipherSuiteName(s.CipherSuite), s.PeerCertificates[0].Subject, s.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly))
	cfg, err := tlsConfig(secure)
	if err != nil {
		return observed, err
	}
	cfg.RootCAs = x509.NewCertPool() // nobody is trusted
	dialling, cancel := context.WithTimeout(ctx, t.Profile.Timers.Dial)
	defer cancel()
	other, err := (&tls.Dialer{Config: cfg}).DialContext(dialling, "tcp", host)
	if err == nil {
		_ = other.Close()
		return observed, errors.New("a certificate is believed without its authority")
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		return observed, fmt.Errorf("whether it is refused without its authority could not be tried: %w", err)
	}
	return observed + "; refused without its authority", nil
}

func (t *trial) bindOn(conn net.Conn, bind profile.Bind) error {
	c := &trialConn{Conn: conn}
	t.conns = append(t.conns, c)
	t.reading.Go(func() { t.listen(c) })
	command, account := bindCommands[bind.Type], t.Profile.Account
	raw, err := wire.Bind{Command: command, SystemID: account.SystemID, Password: account.Password, SystemType: account.SystemType}.Encode()
	if err != nil {
		return err
	}
	f, err := t.ask(c, raw, t.Profile.Timers.Bind)
	if err == nil && f.Status != wire.StatusOK {
		err = &bindError{f.Status}
	}
	if err != nil {
		return err
	}
	if wire.InterfaceVersion(f) < wire.Version34 {
		t.Profile.Text.Reference = false // as the bridge does
	}
	return nil
}

// dial connects to the first host that can be, each with a timer of its own.
func (t *trial) dial(ctx context.Context, bind profile.Bind) (conn net.Conn, host string, err error) {
	var wrong []string
	for _, host := range bind.Hosts {
		dialling, cancel := context.WithTimeout(ctx, t.Profile.Timers.Dial)
		conn, err := t.Dial(dialling, host, bind.TLS)
		cancel()
		if err == nil {
			return conn, host, nil
		}
		wrong = append(wrong, fmt.Sprintf("dial %s: %s", host, err))
	}
	return nil, "", errors.New(strings.Join(wrong, "; "))
}

// ask writes a request and waits for its answer.
func (t *trial) ask(c *trialConn, raw []byte, wait time.Duration) (wire.Frame, error) {
	sequence, err := t.write(c, raw)
	if err != nil {
		return wire.Frame{}, err
	}
	limit := time.Now().Add(wait)
	for {
		f, err := t.read(c, limit)
		if err != nil {
			return f, err
		}
		if f.Command.IsResponse() && f.Sequence == sequence {
			return f, nil
		}
	}
}

func (t *trial) write(c *trialConn, raw []byte) (sequence uint32, err error) {
	c.sequence++
	wire.SetSequence(raw, c.sequence)
	t.note("us", raw)
	_ = c.SetWriteDeadline(time.Now().Add(t.Profile.Timers.Write))
	_, err = c.Write(raw)
	return c.sequence, err
}

// listen reads a connection until it ends.
func (t *trial) listen(c *trialConn) {
	frames := bufio.NewReader(c)
	for {
		f, err := wire.Read(frames)
		select {
		case t.came <- brought{c, f, err}:
		case <-t.over:
			return
		}
		if err != nil {
			return
		}
	}
}

// read returns what comes next on a connection, and answers what asks for something
// on any. That another one ends is told when that is read.
func (t *trial) read(c *trialConn, limit time.Time) (wire.Frame, error) {
	timer := time.NewTimer(time.Until(limit))
	defer timer.Stop()
	for c.err == nil {
		select {
		case a := <-t.came:
			if a.err != nil {
				a.on.err = a.err
				continue
			}
			if err := t.answer(a.on, a.frame); err != nil && a.on.err == nil {
				a.on.err = err
			}
			if a.on == c {
				return a.frame, c.err
			}
		case <-timer.C:
			return wire.Frame{}, errors.New("no answer in time")
		case <-t.over:
			return wire.Frame{}, net.ErrClosed
		}
	}
	return wire.Frame{}, c.err
}

// answer answers a PDU that asks for something.
func (t *trial) answer(c *trialConn, f wire.Frame) error {
	t.note("operator", f.Raw)
	var reply []byte
	switch {
	case f.Command.IsResponse():
		return nil
	case f.Command == wire.DeliverSM || f.Command == wire.DataSM:
		t.receipt(f)
		reply = wire.AppendCString(nil, f.Command.Response(), wire.StatusOK, f.Sequence, "")
	case f.Command == wire.EnquireLink || f.Command == wire.Unbind:
		reply = wire.AppendHeader(nil, f.Command.Response(), wire.StatusOK, f.Sequence)
	default:
		reply = wire.AppendHeader(nil, wire.GenericNack, wire.StatusInvalidID, f.Sequence)
	}
	t.note("us", reply)
	_ = c.SetWriteDeadline(time.Now().Add(t.Profile.Timers.Write))
	_, err := c.Write(reply)
	return err
}

func (t *trial) receipt(f wire.Frame) {
	var m wire.Message
	if wire.DecodeMessage(f, &m) != nil || !isReceipt(m, &t.Profile.Receipts) {
		return
	}
	if r, ok := readReceipt(m, &t.Profile); ok && r.state != "" {
		t.told[r.operatorID] = r.stat
	}
}

func (t *trial) enquire() (string, error) {
	f, err := t.ask(t.conns[0], wire.AppendHeader(nil, wire.EnquireLink, 0, 0), t.Profile.Timers.Response)
	if err == nil && f.Status != wire.StatusOK {
		err = errors.New("answered with " + f.Status.String())
	}
	return "answered", err
}

// send submits a text and wants each part taken.
func (t *trial) send(text string, ref uint16) (string, error) {
	pdus, err := t.submits(text, ref)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, raw := range pdus {
		f, err := t.ask(t.conns[0], raw, t.Profile.Timers.Response)
		if err != nil {
			return strings.Join(ids, " "), err
		}
		id := t.Profile.IDs.FromAnswer(messageID(f))
		switch {
		case f.Status != wire.StatusOK:
			rule, _ := t.Profile.Statuses.Rule(uint32(f.Status))
			return strings.Join(ids, " "), fmt.Errorf("refused with %s %s", f.Status, rule.Name)
		case id == "":
			return strings.Join(ids, " "), errors.New("accepted without a message_id")
		case t.accepted[id]:
			return strings.Join(ids, " "), errors.New("accepted with a message_id that was given before")
		}
		t.accepted[id] = true
		ids = append(ids, id)
	}
	return fmt.Sprintf("%d part(s), message_id %s", len(pdus), strings.Join(ids, " ")), nil
}

// burst writes what may be unanswered at once, and looks at how it is throttled.
func (t *trial) burst() (string, error) {
	began, statuses := time.Now(), map[wire.Status]int{}
	for left := t.Burst; left > 0; {
		n := min(left, t.bind.Window)
		left -= n
		open := map[uint32]bool{}
		for range n {
			pdus, err := t.submits(certifyShort, 4)
			if err != nil {
				return "", err
			}
			sequence, err := t.write(t.conns[0], pdus[0])
			if err != nil {
				return "", err
			}
			open[sequence] = true
		}
		for limit := time.Now().Add(t.Profile.Timers.Response); len(open) > 0; {
			f, err := t.read(t.conns[0], limit)
			if err != nil {
				return "", fmt.Errorf("%d not answered: %w", len(open), err)
			}
			if !f.Command.IsResponse() || !open[f.Sequence] {
				continue
			}
			delete(open, f.Sequence)
			statuses[f.Status]++
			if id := t.Profile.IDs.FromAnswer(messageID(f)); f.Status == wire.StatusOK && id != "" {
				t.accepted[id] = true
			}
		}
	}
	took := time.Since(began)
	pace, other := 0, 0
	for status, n := range statuses {
		if rule, _ := t.Profile.Statuses.Rule(uint32(status)); status != wire.StatusOK && rule.Class == profile.ClassPace {
			pace += n
		} else if status != wire.StatusOK {
			other += n
		}
	}
	observed := fmt.Sprintf("%d in %s (%.0f a second): %d accepted, %d throttled, %d refused otherwise",
		t.Burst, took.Round(time.Millisecond), float64(t.Burst)/took.Seconds(), statuses[wire.StatusOK], pace, other)
	if other > 0 {
		return observed, errors.New("some were refused otherwise")
	}
	return observed, nil
}

// receipts waits for a final receipt of everything that was accepted.
func (t *trial) receipts() (string, error) {
	c := t.conns[len(t.conns)-1]
	missing := func() (n int) {
		for id := range t.accepted {
			if t.told[id] == "" {
				n++
			}
		}
		return n
	}
	var err error
	for limit := time.Now().Add(t.ReceiptWait); missing() > 0 && err == nil; {
		_, err = t.read(c, limit)
	}
	states := map[string]int{}
	for id := range t.accepted {
		states[t.told[id]]++
	}
	var observed []string
	for _, s := range stats(states) {
		observed = append(observed, fmt.Sprintf("%d %s", states[s], s))
	}
	switch n := missing(); {
	case n > 0:
		err = fmt.Errorf("%d without a final receipt in %s", n, t.ReceiptWait)
	case len(t.accepted) == 0:
		err = errors.New("nothing was accepted")
	default:
		err = nil
	}
	return strings.Join(observed, ", "), err
}

func (t *trial) unbind() (string, error) {
	for _, c := range t.conns {
		f, err := t.ask(c, wire.AppendHeader(nil, wire.Unbind, 0, 0), t.Profile.Timers.Response)
		if err == nil && f.Status != wire.StatusOK {
			err = errors.New("answered with " + f.Status.String())
		}
		if err != nil {
			return "", err
		}
	}
	return "answered", nil
}

// close ends the trial; it may be called at any time, and again.
func (t *trial) close() {
	t.once.Do(func() { close(t.over) })
	for _, c := range t.conns {
		_ = c.Close()
	}
}
