package diameter

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
	"testing/synctest"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// capture notes what passes through a connection as a pcap file. IP and TCP are
// as simple as a reader allows.
type capture struct {
	mu   sync.Mutex
	file bytes.Buffer
	sent [2]uint32
}

func newCapture() *capture {
	const linkTypeRaw = 101 // packets begin with an IP header
	c := &capture{}
	for _, v := range []uint32{0xA1B2C3D4, 4<<16 | 2, 0, 0, 1 << 18, linkTypeRaw} {
		c.file.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	return c
}

// packet notes octets of ours (0) or theirs (1).
func (c *capture) packet(side int, payload []byte) {
	ports := [2]uint16{40000, 3868}
	c.mu.Lock()
	defer c.mu.Unlock()
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	ip = binary.BigEndian.AppendUint16(ip, ports[side])
	ip = binary.BigEndian.AppendUint16(ip, ports[1-side])
	ip = binary.BigEndian.AppendUint32(ip, 1+c.sent[side])
	ip = binary.BigEndian.AppendUint32(ip, 1+c.sent[1-side])
	ip = append(ip, 0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0)
	ip = append(ip, payload...)
	c.sent[side] += uint32(len(payload))
	for _, v := range []uint32{0, 0, uint32(len(ip)), uint32(len(ip))} {
		c.file.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
	c.file.Write(ip)
}

type captured struct {
	net.Conn

	to *capture
}

func (c captured) Write(b []byte) (int, error) {
	c.to.packet(0, b)
	return c.Conn.Write(b)
}

func (c captured) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.to.packet(1, b[:n])
	}
	return n, err
}

// tshark returns what tshark prints of a capture.
func (c *capture) tshark(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no tshark and " + noTools + " is set: our messages are NOT read by another decoder")
		}
		t.Fatal("tshark is missing: run deploy/dev/test-tools, or set " + noTools + "=1")
	}
	path := filepath.Join(t.TempDir(), "capture.pcap")
	if err := os.WriteFile(path, c.file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "tshark", append([]string{"-n", "-r", path, "-d", "tcp.port==3868,diameter"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, &errs)
	}
	return string(out)
}

func TestTsharkReadsWhatWeWrite(t *testing.T) {
	c := newCapture()
	for _, mode := range []Mode{ECUR, IEC} {
		synctest.Test(t, func(t *testing.T) {
			o := newOCS(t, "ocs1.ocs.test")
			cfg := testConfig(Peer{Name: "one", Address: "ocs1:3868", DestinationHost: "ocs1.ocs.test"})
			cfg.Mode, cfg.Registry = mode, nil
			cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				nc, err := o.dial(ctx)
				return captured{nc, c}, err
			}
			client := open(cfg)
			defer client.Close()
			synctest.Wait()
			r := asked(t, 1, msisdn(t, "901234567"), 3)
			is(t, "reserve", client.Reserve(t.Context(), r), Yes, Answered, "one")
			if err := client.Settle(t.Context(), r, 2); err != nil {
				t.Fatal(err)
			}
			if err := client.Refund(t.Context(), r, 2); err != nil {
				t.Fatal(err)
			}
			sleep(t.Context(), 2*client.cfg.Tw)
			if _, err := diamRequest(o, 282).WriteTo(o.link()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		})
	}
	if wrong := c.tshark(t, "-Y", "_ws.malformed || _ws.expert.severity >= 0x600000 || diameter.avp.unknown"); wrong != "" {
		t.Errorf("tshark finds fault with:\n%s", wrong)
	}
	lines := c.tshark(t, "-Y", "diameter.flags.request == 1 && diameter.cmd.code == 272", "-T", "fields", "-E", "separator=|",
		"-e", "diameter.CC-Request-Type", "-e", "diameter.Requested-Action", "-e", "diameter.CC-Service-Specific-Units", "-e", "diameter.Subscription-Id-Data")
	var got []string
	for line := range strings.Lines(lines) {
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{
		"1||3|998901234567", "3||2|998901234567", "4|1|2|998901234567",
		"4|0|3|998901234567", "4|1|1|998901234567", "4|1|2|998901234567",
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("tshark reads %v, want %v", got, want)
	}
	count := map[string]int{}
	for line := range strings.Lines(c.tshark(t, "-Y", "diameter", "-T", "fields", "-E", "separator=|", "-e", "diameter.cmd.code", "-e", "diameter.flags.request")) {
		count[strings.TrimSpace(line)]++
	}
	for _, message := range []string{"257|1", "257|0", "280|1", "280|0", "282|1", "282|0"} {
		if count[message] < 2 {
			t.Errorf("tshark read %d messages of command and request flag %s", count[message], message)
		}
	}
}

// What tshark is trusted with: it does find an AVP that is wrong.
func TestTsharkFindsAWrongLength(t *testing.T) {
	c := newCapture()
	c.packet(1, octets(field(avp.SessionID, datatype.UTF8String("a;1;2")), diam.NewAVP(avp.ResultCode, must, 0, datatype.OctetString("12345"))))
	if wrong := c.tshark(t, "-Y", "_ws.malformed || _ws.expert.severity >= 0x600000"); wrong == "" {
		t.Error("tshark finds nothing wrong")
	}
}
