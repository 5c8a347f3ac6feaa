package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mobileid/smpp/wire"
)

var session = &Session{
	Link: "beeline/mobileid/a", Host: "smsc.example:2775",
	Us: netip.MustParseAddrPort("10.1.2.3:40001"), Peer: netip.MustParseAddrPort("10.9.9.9:16000"),
}

// capture is a file of all samples, on a session with IPv4 and one without.
func capture(t *testing.T) (file []byte, pdus int) {
	t.Helper()
	var out bytes.Buffer
	p, err := NewPcapng(&out)
	if err != nil {
		t.Fatal(err)
	}
	six := &Session{Link: "beeline/mobileid/b", Us: netip.MustParseAddrPort("[2001:db8::1]:40002"), Peer: netip.MustParseAddrPort("[2001:db8::2]:2775")}
	at := time.Unix(1_800_000_000, 123_456_000)
	for _, s := range []*Session{session, six} {
		for name, pdu := range samples(t) {
			if strings.Contains(name, "cut off") {
				continue // no frame, and all behind it would be read wrongly
			}
			d := In
			if strings.HasPrefix(name, "submit_sm ") || name == "bind" {
				d = Out
			}
			if err := p.Write(Record{At: at, Session: s, Direction: d, PDU: pdu}); err != nil {
				t.Fatal(err)
			}
			pdus++
		}
	}
	long := raw(wire.DataSM, strings.Repeat("\x00", wire.MaxLen-wire.HeaderLen)) // longer than an IP packet
	if err := p.Write(Record{At: at, Session: session, Direction: In, PDU: long}); err != nil {
		t.Fatal(err)
	}
	if err := p.End(3); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), pdus + 1
}

// TestACaptureIsWhatItsFormatSays takes the file apart by the numbers of the
// format, and puts the streams together again.
func TestACaptureIsWhatItsFormatSays(t *testing.T) {
	file, want := capture(t)
	clean(t, "capture", file)
	type end struct {
		addr string
		port uint16
	}
	streams, expected := map[end][]byte{}, map[end]uint32{}
	kinds := map[uint32]int{}
	for rest := file; len(rest) > 0; {
		kind, n := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		if n%4 != 0 || n < 12 || int(n) > len(rest) || binary.LittleEndian.Uint32(rest[n-4:]) != n {
			t.Fatalf("a block of %d octets", n)
		}
		body := rest[8 : n-4]
		rest = rest[n:]
		kinds[kind]++
		if kind != blockPacket {
			continue
		}
		us := uint64(binary.LittleEndian.Uint32(body[4:]))<<32 | uint64(binary.LittleEndian.Uint32(body[8:]))
		if us != 1_800_000_000_123_456 || binary.LittleEndian.Uint32(body[12:]) != binary.LittleEndian.Uint32(body[16:]) {
			t.Fatalf("at %d", us)
		}
		ip := body[20 : 20+binary.LittleEndian.Uint32(body[12:])]
		tcp := ip[20:]
		if ip[0] != 0x45 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) || ip[9] != 6 || checksum(ip[:20]) != 0 {
			t.Fatalf("IP header % x", ip[:20])
		}
		pseudo := binary.BigEndian.AppendUint16(append(bytes.Clone(ip[12:20]), 0, 6), uint16(len(tcp)))
		if checksum(append(pseudo, tcp...)) != 0 {
			t.Fatal("the checksum of TCP")
		}
		from := end{netip.AddrFrom4([4]byte(ip[12:])).String(), binary.BigEndian.Uint16(tcp)}
		if seq := binary.BigEndian.Uint32(tcp[4:]); seq != 1+expected[from] {
			t.Fatalf("%v goes on at %d, want %d", from, seq, 1+expected[from])
		}
		expected[from] += uint32(len(tcp) - 20)
		streams[from] = append(streams[from], tcp[20:]...)
	}
	if kinds[blockSection] != 1 || kinds[blockInterface] != 2 || kinds[blockStatistics] != 2 {
		t.Errorf("blocks by type: %v", kinds)
	}
	got := 0
	for _, s := range streams {
		for r := bytes.NewReader(s); r.Len() > 0; got++ {
			if _, err := wire.Read(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got != want {
		t.Errorf("%d PDUs, want %d", got, want)
	}
	for _, from := range []end{{"10.1.2.3", 40001}, {"10.9.9.9", SMPPPort}, {"192.0.2.1", 49153}, {"198.51.100.1", SMPPPort}} {
		if streams[from] == nil {
			t.Errorf("nothing from %v", from)
		}
	}
}

// noTools is the environment variable that lets outside programs be absent;
// TOOLS=0 make test sets it, aloud.
const noTools = "MOBILEID_TEST_NO_TOOLS"

// TestTsharkReadsACapture holds the file against a reader that nobody here
// wrote.
func TestTsharkReadsACapture(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no tshark and " + noTools + " is set: a trace is NOT read by another decoder")
		}
		t.Fatal("tshark is missing: install it (Debian: apt-get install tshark), or set " + noTools + "=1")
	}
	var out bytes.Buffer
	p, err := NewPcapng(&out)
	if err != nil {
		t.Fatal(err)
	}
	all := samples(t)
	sound := 0
	for name, pdu := range all { // those that a peer of good faith would send
		switch {
		case strings.HasPrefix(name, "submit_sm "), name == "bind", name == "submit_sm_resp",
			strings.HasPrefix(name, "deliver_sm receipt"), name == "deliver_sm from a handset":
		default:
			continue
		}
		d := In
		if strings.HasPrefix(name, "submit_sm ") || name == "bind" {
			d = Out
		}
		if err := p.Write(Record{At: time.Now(), Session: session, Direction: d, PDU: pdu}); err != nil {
			t.Fatal(err)
		}
		sound++
	}
	if err := p.End(0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "trace.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := exec.CommandContext(t.Context(), tshark, "-r", path, "-d", "tcp.port==2775,smpp", "-T", "json").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	var packets []struct {
		Source struct {
			Layers map[string]json.RawMessage `json:"layers"`
		} `json:"_source"`
	}
	if err := json.Unmarshal(printed, &packets); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, packet := range packets {
		if packet.Source.Layers["smpp"] != nil {
			read++
		}
		if packet.Source.Layers["_ws.malformed"] != nil {
			t.Errorf("malformed: %s", packet.Source.Layers["smpp"])
		}
	}
	if read != sound {
		t.Errorf("tshark read %d PDUs, want %d", read, sound)
	}
	clean(t, "tshark's reading", printed)
}

func TestHexIsALineAPDU(t *testing.T) {
	var out strings.Builder
	h := NewHex(&out)
	at := time.Date(2026, 11, 23, 10, 0, 0, 5_000_000, time.UTC)
	if err := h.Write(Record{At: at, Session: session, Direction: In, PDU: wire.AppendHeader(nil, wire.EnquireLink, 0, 9)}); err != nil {
		t.Fatal(err)
	}
	for _, pdu := range samples(t) {
		if err := h.Write(Record{At: at, Session: session, Direction: Out, PDU: pdu}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.End(2); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if want := "2026-11-23T10:00:00.005Z beeline/mobileid/a operator enquire_link 0x00 sequence=9 00000010000000150000000000000009"; lines[0] != want {
		t.Errorf("%s, want\n%s", lines[0], want)
	}
	if len(lines) != len(samples(t))+2 || lines[len(lines)-1] != "# 2 PDUs are missing: the reader was slow" {
		t.Errorf("%d lines, the last is %s", len(lines), lines[len(lines)-1])
	}
	for _, secret := range []string{canaryCode, canaryNumber, canaryPINFL, canaryPass} {
		if strings.Contains(out.String(), string(hexOf(secret))) {
			t.Errorf("%q is in it", secret)
		}
	}
}

func hexOf(text string) (out []byte) {
	for i := range len(text) {
		out = append(out, "0123456789abcdef"[text[i]>>4], "0123456789abcdef"[text[i]&15])
	}
	return out
}

// A reader who does not read loses what finds no room, and knows how many; who
// is recorded goes on at once, and another reader loses nothing.
func TestASlowReaderLosesAndSlowsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tap Tap
		slow, err := tap.Listen()
		if err != nil {
			t.Fatal(err)
		}
		quick, err := tap.Listen()
		if err != nil {
			t.Fatal(err)
		}
		two := bytes.Repeat(wire.AppendHeader(nil, wire.EnquireLink, 0, 1), 2)
		began, got := time.Now(), 0
		for range maxWaiting {
			tap.Show(session, Out, two)
			for range 2 {
				quick.Took(<-quick.Records())
				got++
			}
		}
		if slow.Lost() != maxWaiting || quick.Lost() != 0 || got != 2*maxWaiting || time.Since(began) != 0 {
			t.Errorf("slow lost %d, quick lost %d of %d, after %v", slow.Lost(), quick.Lost(), got, time.Since(began))
		}
		slow.Close()
		quick.Close()
	})
}

// The bound is of octets, too: the longest PDUs would otherwise take hundreds
// of megabytes.
func TestWhatWaitsIsBoundedInOctets(t *testing.T) {
	var tap Tap
	r, err := tap.Listen()
	if err != nil {
		t.Fatal(err)
	}
	long := raw(wire.DataSM, strings.Repeat("\x00", wire.MaxLen-wire.HeaderLen))
	for range 200 {
		tap.Show(session, In, long)
	}
	if held := len(r.Records()); held != maxWaitingBytes/wire.MaxLen || r.Lost() != int64(200-held) {
		t.Errorf("%d held, %d lost", held, r.Lost())
	}
	r.Took(<-r.Records())
	tap.Show(session, In, long)
	if held := len(r.Records()); held != maxWaitingBytes/wire.MaxLen {
		t.Errorf("%d held after one was read", held)
	}
	r.Close()
	if tap.Show(session, In, long); r.Lost() != int64(200-maxWaitingBytes/wire.MaxLen) {
		t.Error("a closed reader is still shown PDUs")
	}
	for range maxReaders {
		if _, err := tap.Listen(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tap.Listen(); err == nil {
		t.Error("a fifth reader")
	}
}

func BenchmarkShowToNobody(b *testing.B) {
	var tap Tap
	pdu := wire.AppendHeader(nil, wire.EnquireLink, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		tap.Show(session, Out, pdu)
	}
}
