package smsc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutext"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
	"go.uber.org/goleak"

	"mobileid/smpp/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Accounts == nil {
		cfg.Accounts = map[string]string{"a": "pw"}
	}
	cfg.RedeliverWait = 10 * time.Millisecond
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is a plain SMPP client.
type client struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
	slab *wire.Reader // over br
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = conn.Close() })
	br := bufio.NewReader(conn)
	return &client{t, conn, br, wire.NewReader(br)}
}

func (c *client) write(raw []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(raw); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() wire.Frame {
	c.t.Helper()
	f, err := wire.Read(c.br)
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) bind(as wire.Command, password string) wire.Status {
	c.t.Helper()
	raw, err := wire.Bind{Command: as, SystemID: "a", Password: password}.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(raw)
	return c.read().Status
}

func bound(t testing.TB, s *Server) *client {
	t.Helper()
	c := dial(t, s)
	if st := c.bind(wire.BindTransceiver, "pw"); st != 0 {
		t.Fatalf("bind: %s", st)
	}
	return c
}

func submit(seq uint32, change func(*wire.Message)) []byte {
	m := wire.Message{
		Command: wire.SubmitSM, Source: wire.Address{TON: 5, Addr: "MobileID"}, Dest: wire.Address{TON: 1, NPI: 1, Addr: "998901234567"},
		RegisteredDelivery: 1, ValidityPeriod: "000000000500000R", ShortMessage: []byte("Kod 1234"),
	}
	if change != nil {
		change(&m)
	}
	raw, err := m.Encode()
	if err != nil {
		panic(err)
	}
	wire.SetSequence(raw, seq)
	return raw
}

func ack(f wire.Frame, status wire.Status) []byte {
	return wire.AppendCString(nil, f.Command.Response(), status, f.Sequence, "")
}

func TestSubmitIsLoggedAnsweredAndReceipted(t *testing.T) {
	s := start(t, Config{})
	c := bound(t, s)
	raw := submit(7, nil)
	c.write(raw)
	resp := c.read()
	f, _ := wire.Decode(resp)
	if resp.Command != wire.SubmitSM.Response() || resp.Sequence != 7 || resp.Status != 0 {
		t.Fatalf("%+v", resp)
	}
	got := s.Received()
	if len(got) != 1 || got[0].MessageID != f.Text(pdufield.MessageID) || got[0].Text != "Kod 1234" ||
		got[0].Validity != "000000000500000R" || !bytes.Equal(got[0].Raw, raw) || got[0].Fields["dest_addr_ton"] != "1" {
		t.Fatalf("%+v", got)
	}
	rc := c.read()
	d, err := wire.Decode(rc)
	if err != nil || rc.Command != wire.DeliverSM || d.Byte(pdufield.ESMClass) != 4 ||
		d.OptionalText(pdutlv.TagReceiptedMessageID) != got[0].MessageID ||
		!strings.Contains(string(d.Bytes()), "stat:DELIVRD err:000 text:Kod 1234") {
		t.Errorf("receipt %q %v", d.Bytes(), err)
	}
}

func TestReceiptIsSentUntilItIsAcknowledged(t *testing.T) {
	s := start(t, Config{})
	c := bound(t, s)
	events, cancel := s.Subscribe()
	defer cancel()
	c.write(submit(1, nil))
	c.read()
	c.write(ack(c.read(), wire.StatusTemporary))
	second := c.read() // and now the link is lost, unacknowledged
	_ = c.conn.Close()
	c = bound(t, s)
	third := c.read()
	if !bytes.Contains(third.Raw, second.Raw[wire.HeaderLen:wire.HeaderLen+20]) {
		t.Errorf("another receipt: %q", third.Raw)
	}
	c.write(ack(third, 0))
	var tries []int
	var status []uint32
	for e := range events {
		if e.Kind == EventReceipt {
			tries = append(tries, e.Receipt.Try)
		}
		if e.Kind == EventReceiptAck {
			status = append(status, e.Receipt.AckStatus)
			if e.Receipt.AckStatus == 0 {
				break
			}
		}
	}
	if len(tries) != 3 || tries[2] != 3 || len(status) != 2 || status[0] != 0x64 {
		t.Errorf("tries %v, acknowledgements %v", tries, status)
	}
}

func TestReceiptWaitsForABind(t *testing.T) {
	s := start(t, Config{})
	tx := dial(t, s)
	if st := tx.bind(wire.BindTransmitter, "pw"); st != 0 {
		t.Fatal(st)
	}
	tx.write(submit(1, nil))
	tx.read()
	rx := dial(t, s)
	if st := rx.bind(wire.BindReceiver, "pw"); st != 0 {
		t.Fatal(st)
	}
	if f := rx.read(); f.Command != wire.DeliverSM {
		t.Errorf("%+v", f)
	}
	rx.write(submit(1, nil))
	if f := rx.read(); f.Status != wire.StatusNotBound {
		t.Errorf("submit on a receiver: %s", f.Status)
	}
}

func TestAReceiptIsOwedOverARestartUntilItIsAcknowledged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "receipts.jsonl")
	first := start(t, Config{StateFile: file, ReceiptDelay: time.Hour})
	c := dial(t, first)
	if st := c.bind(wire.BindTransceiver, "pw"); st != 0 {
		t.Fatal(st)
	}
	c.write(submit(1, nil))
	c.read()
	// A kill cuts the last line; the debts before it count.
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"message_id":"cut`)
	_ = f.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	id := first.Received()[0].MessageID
	dueNow(t, file)

	second := start(t, Config{StateFile: file})
	c = dial(t, second)
	if st := c.bind(wire.BindTransceiver, "pw"); st != 0 {
		t.Fatal(st)
	}
	got := c.read()
	if got.Command != wire.DeliverSM || !bytes.Contains(got.Raw, []byte(id)) {
		t.Fatalf("%+v", got)
	}
	events, cancel := second.Subscribe()
	defer cancel()
	c.write(wire.AppendCString(nil, wire.DeliverSM.Response(), 0, got.Sequence, ""))
	for e := range events {
		if e.Kind == EventReceiptAck {
			break
		}
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if owed, err := readDebts(file); err != nil || len(owed) != 0 {
		t.Errorf("after the acknowledgement: %v %v", owed, err)
	}
}

// dueNow rewrites every debt of the file as due.
func dueNow(t *testing.T, file string) {
	t.Helper()
	owed, err := readDebts(file)
	if err != nil || len(owed) != 1 {
		t.Fatalf("owed %v, %v", owed, err)
	}
	owed[0].Due = time.Now()
	line, err := json.Marshal(owed[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(line, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBindsAreRefused(t *testing.T) {
	s := start(t, Config{})
	if st := dial(t, s).bind(wire.BindTransceiver, "bad"); st != wire.StatusBadPassword {
		t.Errorf("wrong password: %s", st)
	}
	if err := s.SetFault(Fault{Kind: FaultRefuseBind, Count: 1, Status: 0x0D}); err != nil {
		t.Fatal(err)
	}
	if st := dial(t, s).bind(wire.BindTransceiver, "pw"); st != 0x0D {
		t.Errorf("scripted: %s", st)
	}
	c := bound(t, s)
	if st := c.bind(wire.BindTransceiver, "pw"); st != wire.StatusAlreadyBound {
		t.Errorf("twice: %s", st)
	}
}

func TestSessionRules(t *testing.T) {
	s := start(t, Config{Enquire: 20 * time.Millisecond})
	c := bound(t, s)
	f := c.read()
	if f.Command != wire.EnquireLink {
		t.Fatalf("%s", f.Command)
	}
	c.write(wire.AppendHeader(nil, wire.EnquireLink, 0, 5))
	for f.Command != wire.EnquireLink.Response() {
		f = c.read()
	}
	c.write(wire.AppendHeader(nil, 0x777, 0, 6))
	for f.Command != wire.GenericNack {
		f = c.read()
	}
	c.write(wire.AppendHeader(nil, wire.Unbind, 0, 7))
	for f.Command != wire.Unbind.Response() {
		f = c.read()
	}
	if _, err := wire.Read(c.br); !errors.Is(err, io.EOF) {
		t.Errorf("after unbind: %v", err)
	}
}

func TestFaults(t *testing.T) {
	s := start(t, Config{})
	set := func(f Fault) {
		t.Helper()
		if err := s.SetFault(f); err != nil {
			t.Fatal(err)
		}
	}
	c := bound(t, s)
	none := func(m *wire.Message) { m.RegisteredDelivery = 0 }

	set(Fault{Kind: FaultStatus, Count: 1, Status: 0x58})
	c.write(submit(1, none))
	if f := c.read(); f.Status != 0x58 || f.Sequence != 1 {
		t.Errorf("status: %+v", f)
	}
	set(Fault{Kind: FaultNoAnswer, Count: 1})
	c.write(submit(2, none))
	c.write(submit(3, none))
	if f := c.read(); f.Sequence != 3 {
		t.Errorf("no answer: %+v", f)
	}
	set(Fault{Kind: FaultDelay, Count: 1, Delay: 30 * time.Millisecond})
	c.write(submit(4, none))
	c.write(submit(5, none))
	if a, b := c.read(), c.read(); a.Sequence != 5 || b.Sequence != 4 {
		t.Errorf("delay: %d before %d", a.Sequence, b.Sequence)
	}
	set(Fault{Kind: FaultReceipt, Count: 1, To: "998900000000", State: "UNDELIV"})
	set(Fault{Kind: FaultReceiptFirst, Count: 1})
	c.write(submit(6, nil))
	if f := c.read(); f.Command != wire.DeliverSM || !bytes.Contains(f.Raw, []byte("stat:DELIVRD")) {
		t.Errorf("receipt first: %s", f.Command)
	}
	c.read()
	c.write(submit(7, func(m *wire.Message) { m.Dest.Addr = "998900000000" }))
	c.read()
	if f := c.read(); !bytes.Contains(f.Raw, []byte("stat:UNDELIV")) {
		t.Errorf("receipt state for a number: %q", f.Raw)
	}
	set(Fault{Kind: FaultNoReceipt, Count: 1})
	c.write(submit(8, nil))
	c.read()
	set(Fault{Kind: FaultDrop, Count: 2})
	c.write(submit(9, none))
	if f := c.read(); f.Sequence != 9 {
		t.Errorf("drop: %+v", f)
	}
	c.write(submit(10, none))
	if _, err := wire.Read(c.br); err == nil {
		t.Error("not cut")
	}
	if len(s.Faults()) != 0 {
		t.Errorf("left: %+v", s.Faults())
	}
	if n := s.Count(); n != 10 {
		t.Errorf("%d in the log, want every one", n)
	}
	got := s.Received()
	if got[0].Status != 0x58 || got[0].MessageID != "" || got[1].Answered || got[9].Answered {
		t.Errorf("what became of them: %+v", got)
	}
	for _, bad := range []Fault{
		{},
		{Kind: "x"},
		{Kind: FaultStatus},
		{Kind: FaultReceipt, State: "LOST"},
		{Kind: FaultDelay},
		{Kind: FaultDrop, Count: -1},
		{Kind: FaultRefuseBind, To: "998900000000"},
		{Kind: FaultIgnoreBind, To: "998900000000"},
		{Kind: FaultIgnoreLink, To: "998900000000"},
		{Kind: FaultUnbind, To: "998900000000"},
		{Kind: FaultCut, To: "998900000000"},
	} {
		if s.SetFault(bad) == nil {
			t.Errorf("taken: %+v", bad)
		}
	}
}

func TestADropForANumberCountsAndCutsOnlyThatNumber(t *testing.T) {
	s := start(t, Config{})
	if err := s.SetFault(Fault{Kind: FaultDrop, Count: 2, To: "998900000000"}); err != nil {
		t.Fatal(err)
	}
	c := bound(t, s)
	to := func(number string) func(*wire.Message) {
		return func(m *wire.Message) { m.RegisteredDelivery, m.Dest.Addr = 0, number }
	}
	for i, number := range []string{"998901111111", "998900000000", "998901111111", "998901111111"} {
		seq := uint32(i + 1)
		c.write(submit(seq, to(number)))
		if f, err := wire.Read(c.br); err != nil || f.Sequence != seq || f.Status != 0 {
			t.Fatalf("submit %d to %s: %+v, %v", seq, number, f, err)
		}
	}
	c.write(submit(5, to("998900000000")))
	if f, err := wire.Read(c.br); err == nil {
		t.Errorf("not cut: %+v", f)
	}
	if len(s.Faults()) != 0 {
		t.Errorf("left: %+v", s.Faults())
	}
}

func TestTextsAreDecoded(t *testing.T) {
	s := start(t, Config{})
	c := bound(t, s)
	c.write(submit(1, func(m *wire.Message) {
		m.DataCoding, m.ShortMessage = 8, pdutext.UCS2("Код 1234, oʻzbek 🙂").Encode()
	}))
	c.write(submit(2, func(m *wire.Message) { m.ShortMessage = []byte{0, 0x1b, 0x65, 'o', 'k'} }))
	c.write(submit(3, func(m *wire.Message) {
		m.ESMClass, m.ShortMessage = 0x40, append([]byte{5, 0, 3, 9, 2, 1}, "part"...)
	}))
	if err := s.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	got := s.Received()
	if got[0].Text != "Код 1234, oʻzbek 🙂" || got[1].Text != "@€ok" || got[2].Text != "part" || got[2].Parts != 2 || got[2].Reference != 9 {
		t.Errorf("%q %q %+v", got[0].Text, got[1].Text, got[2])
	}
}

func TestLettersOfBothAlphabetsAreDecodedAsTheTablesDo(t *testing.T) {
	for c := range 256 {
		payload := []byte{'a', byte(c)}
		if got, want := decodeText(0, CharsetGSM7, payload), string(pdutext.GSM7(payload).Decode()); got != want {
			t.Errorf("0x%02x: %q, want %q", c, got, want)
		}
	}
}

func TestOctetsBehindTheParametersAreLeftAway(t *testing.T) {
	s := start(t, Config{})
	c := bound(t, s)
	sar := func(m *wire.Message) {
		m.RegisteredDelivery = 0
		m.TLV = []wire.TLV{
			{Tag: wire.TagSARMsgRefNum, Value: []byte{1, 2}},
			{Tag: wire.TagSARTotalSegments, Value: []byte{1}},
			{Tag: wire.TagSARSegmentSeqnum, Value: []byte{1}},
		}
	}
	whole := submit(1, sar)
	for n := range 4 {
		c.write(sized(append(submit(1, sar), []byte{7, 0, 9}[:n]...)))
		if f := c.read(); f.Status != wire.StatusOK {
			t.Fatalf("%d octets: %s", n, f.Status)
		}
	}
	for n, got := range s.Received() {
		if got.Text != "Kod 1234" || got.Whole != "Kod 1234" || got.Reference != 0x0102 || len(got.Raw) != len(whole)+n ||
			got.Validity != "000000000500000R" || got.Fields["tlv_0x020c"] != "0102" {
			t.Errorf("%d octets: %+v", n, got)
		}
	}
	// A parameter that leads behind the PDU is refused all the same.
	for _, tail := range [][]byte{{4, 4, 0, 1}, {0, 0, 0, 5}, {2, 4, 0, 3, 0, 0}} {
		c.write(sized(append(submit(2, noReceipt), tail...)))
		if f := c.read(); f.Status != wire.StatusSystemError {
			t.Errorf("%x: %s", tail, f.Status)
		}
	}
	if n := s.Count(); n != 4 {
		t.Errorf("%d in the log, want the 4 that were taken", n)
	}
}

func TestLogIsBoundedAndWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log.jsonl")
	s := start(t, Config{MaxMessages: 2, LogFile: file})
	c := bound(t, s)
	for i := range uint32(5) {
		c.write(submit(i+1, func(m *wire.Message) { m.RegisteredDelivery = 0 }))
		c.read()
	}
	got := s.Received()
	if len(got) != 2 || got[0].Sequence != 4 || got[1].Sequence != 5 || s.Count() != 5 {
		t.Errorf("%d kept of %d", len(got), s.Count())
	}
	_ = s.Close()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	var last Submit
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 5 || last.Text != "Kod 1234" {
		t.Errorf("%d lines, last %+v, %v", len(lines), last, err)
	}
}

func TestControlAPI(t *testing.T) {
	s := start(t, Config{ControlAddr: "127.0.0.1:0"})
	base := "http://" + s.ControlAddr()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	hc := &http.Client{Transport: transport}
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events", nil)
	live, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(live.Body)
	lines.Buffer(nil, 1<<20)
	lines.Scan()

	c := bound(t, s)
	c.write(submit(1, nil))
	c.read()
	c.write(ack(c.read(), 0))
	var kinds []string
	for lines.Scan() {
		if k, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			if kinds = append(kinds, k); k == "receipt_ack" {
				break
			}
		}
	}
	if strings.Join(kinds, " ") != "bind submit receipt receipt_ack" {
		t.Errorf("events %v", kinds)
	}
	cancel()
	_ = live.Body.Close()

	for _, q := range []struct {
		path string
		want int
	}{{"/messages", 1}, {"/messages?to=998901234567", 1}, {"/messages?to=998", 0}, {"/messages?after=2100-01-01T00:00:00Z", 0}} {
		var got []Submit
		if code, body := call("GET", q.path, ""); code != 200 || json.Unmarshal([]byte(body), &got) != nil || len(got) != q.want {
			t.Errorf("%s: %d %s", q.path, code, body)
		}
	}
	if code, body := call("GET", "/faults", ""); code != 200 || !strings.Contains(body, `"in_force":[]`) || !strings.Contains(body, `"kind":"half_open"`) {
		t.Errorf("what faults there are: %d %s", code, body)
	}
	if code, body := call("POST", "/faults", `{"kind":"delay","delay":"1m0s","for":"1h0m0s"}`); code != 200 || !strings.Contains(body, `"delay":"1m0s"`) {
		t.Errorf("times: %d %s", code, body)
	}
	if code, body := call("DELETE", "/faults?kind=delay", ""); code != 200 || strings.TrimSpace(body) != "[]" {
		t.Errorf("lifted: %d %s", code, body)
	}
	if code, body := call("POST", "/faults", `{"kind":"status","count":3,"status":88}`); code != 200 || !strings.Contains(body, `"count":3`) {
		t.Errorf("%d %s", code, body)
	}
	for _, bad := range []string{`{"kind":"nothing"}`, `{"kind":"delay"}`, `{"kind":"delay","delay":"soon"}`, `{"kind":"delay","delay":"1s","n":1}`, `{"unknown":1}`, `x`} {
		if code, _ := call("POST", "/faults", bad); code != 400 {
			t.Errorf("%s: %d", bad, code)
		}
	}
	c.write(submit(2, nil))
	if f := c.read(); f.Status != wire.StatusThrottled {
		t.Errorf("throttled: %s", f.Status)
	}
	if code, body := call("GET", "/healthz", ""); code != 200 || strings.TrimSpace(body) != `{"bound":1,"refused":1,"submits":2}` {
		t.Errorf("counters: %d %s", code, body)
	}
	if code, _ := call("POST", "/receipts", `{"message_id":"`+s.Received()[0].MessageID+`","state":"UNDELIV"}`); code != 200 {
		t.Errorf("further receipt: %d", code)
	}
	if f := c.read(); !bytes.Contains(f.Raw, []byte("stat:UNDELIV")) {
		t.Errorf("%q", f.Raw)
	}
	if code, _ := call("POST", "/reset", ""); code != 200 || s.Count() != 0 || len(s.Faults()) != 0 {
		t.Error("not reset")
	}
	if code, body := call("GET", "/healthz", ""); code != 200 || strings.TrimSpace(body) != `{"bound":1,"refused":0,"submits":0}` {
		t.Errorf("%d %s", code, body)
	}
	if _, body := call("GET", "/", ""); !strings.Contains(body, "POST /faults") {
		t.Error("no help")
	}
}
