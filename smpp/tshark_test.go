package smpp

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

// capture writes what passes through connections into a pcap file, so that no
// right to capture is needed. IP and TCP are as simple as a reader allows; the
// octets that they carry are those of the sockets.
type capture struct {
	mu   sync.Mutex
	file bytes.Buffer
	sent map[[2]uint16]uint32 // octets by ports, for TCP's numbers

	asked chan struct{} // an enquire_link was answered
}

const (
	capturePort = 2775
	linkTypeRaw = 101 // packets begin with an IP header
)

func newCapture() *capture {
	c := &capture{sent: map[[2]uint16]uint32{}, asked: make(chan struct{}, 1)}
	for _, v := range []uint32{0xA1B2C3D4, 4<<16 | 2, 0, 0, 1 << 18, linkTypeRaw} {
		c.file.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return c
}

// packet notes octets that went from one port to the other.
func (c *capture) packet(from, to uint16, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	ip = binary.BigEndian.AppendUint16(ip, from)
	ip = binary.BigEndian.AppendUint16(ip, to)
	ip = binary.BigEndian.AppendUint32(ip, 1+c.sent[[2]uint16{from, to}])
	ip = binary.BigEndian.AppendUint32(ip, 1+c.sent[[2]uint16{to, from}])
	ip = append(ip, 0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0)
	ip = append(ip, payload...)
	c.sent[[2]uint16{from, to}] += uint32(len(payload))
	now := time.Now()
	for _, v := range []uint32{uint32(now.Unix()), uint32(now.Nanosecond() / 1000), uint32(len(ip)), uint32(len(ip))} {
		c.file.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	c.file.Write(ip)
	if from == capturePort && bytes.HasPrefix(payload, []byte{0, 0, 0, 16, 0x80, 0, 0, 0x15}) {
		signal(c.asked)
	}
}

// captured is a connection whose octets are noted.
type captured struct {
	net.Conn
	to   *capture
	port uint16 // ours
}

func (c *captured) Write(b []byte) (int, error) {
	c.to.packet(c.port, capturePort, b)
	return c.Conn.Write(b)
}

func (c *captured) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.to.packet(capturePort, c.port, b[:n])
	}
	return n, err
}

// dial is a Dialer whose connections are noted.
func (c *capture) dial(ctx context.Context, host string, secure profile.TLS) (net.Conn, error) {
	conn, err := dial(ctx, host, secure)
	if err != nil {
		return nil, err
	}
	return &captured{Conn: conn, to: c, port: uint16(conn.LocalAddr().(*net.TCPAddr).Port)}, nil
}

// tshark returns the lines that tshark prints of a capture.
func (c *capture) tshark(t *testing.T, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no tshark and " + noTools + " is set: our PDUs are NOT read by another decoder")
		}
		t.Fatal("tshark is missing: install it (Debian: apt-get install tshark), or set " + noTools + "=1")
	}
	path := filepath.Join(t.TempDir(), "capture.pcap")
	if err := os.WriteFile(path, c.file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "tshark", append([]string{"-n", "-r", path, "-d", "tcp.port==2775,smpp"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, &errs)
	}
	return strings.Fields(strings.ReplaceAll(string(out), ",", "\n"))
}

// malformed counts the packets in which tshark finds something wrong.
func (c *capture) malformed(t *testing.T) int {
	t.Helper()
	return len(c.tshark(t, "-Y", "_ws.malformed", "-T", "fields", "-e", "frame.number"))
}

func TestTsharkFindsNothingWrongInOurPDUs(t *testing.T) {
	c := newCapture()
	for _, style := range []sms.Style{sms.StyleUDH8, sms.StyleUDH16, sms.StyleSAR, sms.StylePayload} {
		r := newRig(t, func(cfg *Config, sc *smsc.Config) {
			cfg.Profile.Text.Parts = style
			cfg.Profile.Timers.EnquireLink = 50 * time.Millisecond
			if style == sms.StyleUDH16 {
				cfg.Profile.Validity.Format = profile.Absolute
			}
		})
		r.bridge.dial = c.dial
		r.start()
		receipts := 0
		for _, text := range []string{
			"Kod 739214 [€] @£$", "Ваш код 739214 🙂", strings.Repeat("Uzun matn €[]. ", 25), strings.Repeat("Узун матн 🙂. ", 12),
		} {
			id := r.says(text)
			r.mustTake(mobileid.LaneOTP, id)
			r.until(id, mobileid.MessageSent)
			receipts += len(r.last(id).Parts)
		}
		r.store.until(t, "receipts", func() bool { return len(r.store.receipts) == receipts })
		within(t, "enquire_link_resp", c.asked)
		r.stop()
	}
	if n := c.malformed(t); n != 0 {
		t.Errorf("tshark finds %d malformed packets", n)
	}
	// It has read all of it: each kind of PDU, and of submit_sm each.
	commands := c.tshark(t, "-T", "fields", "-e", "smpp.command_id", "-Y", "smpp")
	count := map[string]int{}
	for _, id := range commands {
		count[id]++
	}
	const texts = 3*(1+1+3+3) + 4 // message_payload needs no parts
	for id, n := range map[string]int{
		"0x00000009": 4, "0x80000009": 4, "0x00000004": texts, "0x80000004": texts, "0x00000005": texts, "0x80000005": texts,
		"0x00000006": 4, "0x80000006": 4,
	} {
		if count[id] != n {
			t.Errorf("tshark read %d PDUs of command_id %s, want %d", count[id], id, n)
		}
	}
	if asked, told := count["0x00000015"], count["0x80000015"]; asked == 0 || told == 0 {
		t.Errorf("tshark read %d enquire_link and %d answers", asked, told)
	}
}

// What tshark is trusted with: it does find a PDU that is wrong.
func TestTsharkFindsAWrongLength(t *testing.T) {
	c := newCapture()
	raw := mo([]byte("salom"), nil)
	raw[len(raw)-6] = 200 // sm_length
	c.packet(capturePort, 40000, raw)
	if n := c.malformed(t); n != 1 {
		t.Errorf("%d malformed packets found, want 1", n)
	}
}
