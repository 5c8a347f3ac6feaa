package bench

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/testenv"
)

const kannelMissing = "!!! Kannel is not installed, so nothing is compared with it: apt-get install --no-install-recommends kannel"

// kannelPrograms is where Kannel is. It runs beside us as any operator of it
// runs it; nothing of it is part of this project.
type kannelPrograms struct{ bearerbox, smsbox, version string }

// findKannel looks where Debian puts it, too, because that is not in
// everybody's PATH.
func findKannel() (p kannelPrograms, ok bool) {
	find := func(name string) string {
		for _, candidate := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path
			}
		}
		return ""
	}
	p.bearerbox, p.smsbox = find("bearerbox"), find("smsbox")
	if p.bearerbox == "" || p.smsbox == "" {
		return p, false
	}
	first, _, _ := strings.Cut(command(p.bearerbox, "--version"), "\n")
	p.version = kannelVersion(first)
	return p, true
}

// kannelVersion reads "Kannel bearerbox version `1.4.5'.".
func kannelVersion(line string) string {
	_, rest, _ := strings.Cut(line, "`")
	if version, _, ok := strings.Cut(rest, "'"); ok {
		return version
	}
	return "of unknown version"
}

// kannelSetup is what differs between the runs of Kannel.
type kannelSetup struct {
	spool    bool // its store on disk
	receipts bool // delivery reports are asked for, and called back over HTTP
	pace     int  // submit_sm a second that the operator has named; zero means that it has not
}

func (k kannelSetup) String() string {
	store, receipts := "no store", "no receipts"
	if k.spool {
		store = "spool store, no fsync"
	}
	if k.receipts {
		receipts = "receipts"
	}
	return store + ", " + receipts
}

// kannel is a running Kannel bound to a simulator of its own.
type kannel struct {
	kannelSetup
	simulator
	sendsms  string // host:port
	password string // of sendsms
	watched  []watched
}

// kannelConfig is Kannel at its ease: as many unanswered submit_sm as our bind,
// and room for whatever the load brings.
//
//nolint:dupword // a group is named as what it is about
const kannelConfig = `group = core
admin-interface = "127.0.0.1"
admin-port = %[1]s
admin-password = %[2]s
smsbox-interface = "127.0.0.1"
smsbox-port = %[3]s
box-allow-ip = "127.0.0.1"
log-level = 2
log-file = "%[4]s/bearerbox-own.log"
dlr-storage = internal
sms-outgoing-queue-limit = 1000000
smsbox-max-pending = 1000
%[5]s
group = smsc
smsc = smpp
smsc-id = operator
host = 127.0.0.1
port = %[6]s
transceiver-mode = true
smsc-username = "%[7]s"
smsc-password = "%[2]s"
system-type = ""
msg-id-type = 0x00
max-pending-submits = %[8]d
enquire-link-interval = 30
reconnect-delay = 2
%[9]s
group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = %[3]s
sendsms-interface = "127.0.0.1"
sendsms-port = %[10]s
log-level = 2
log-file = "%[4]s/smsbox-own.log"
max-pending-requests = 2048

group = sendsms-user
username = bench
password = %[2]s
concatenation = true
max-messages = 10
user-allow-ip = "127.0.0.1"
`

// start starts a simulator and Kannel, and waits until it is bound and takes
// requests.
func (p kannelPrograms) start(b *testing.B, set kannelSetup) *kannel {
	b.Helper()
	dir := b.TempDir()
	port := func() string {
		_, port, err := net.SplitHostPort(testenv.FreeAddr(b))
		must(b, err)
		return port
	}
	k := &kannel{kannelSetup: set, password: rand.Text()[:8]} // SMPP 3.4 (5.2.2) has room for eight
	admin, boxes, sendsms, operator := port(), port(), port(), port()
	k.sendsms = "127.0.0.1:" + sendsms
	k.simulator = startSimulator(b, dir, "127.0.0.1:"+operator, k.password, bridgeReceipt)
	store, throughput := "", ""
	if set.spool {
		must(b, os.Mkdir(filepath.Join(dir, "spool"), 0o700))
		store = "store-type = spool\nstore-location = \"" + filepath.Join(dir, "spool") + "\"\n"
	}
	if set.pace > 0 {
		throughput = fmt.Sprintf("throughput = %d\n", set.pace)
	}
	file := filepath.Join(dir, "kannel.conf")
	must(b, os.WriteFile(file, fmt.Appendf(nil, kannelConfig, admin, k.password, boxes, dir, store, operator,
		sandbox.SystemID, bridgeWindow, throughput, sendsms), 0o600))

	k.box(b, dir, "bearerbox", p.bearerbox, file)
	status := func() string {
		res, err := http.Get("http://127.0.0.1:" + admin + "/status.txt?password=" + k.password)
		if err != nil {
			return ""
		}
		defer res.Body.Close()
		var text strings.Builder
		_ = res.Write(&text)
		return text.String()
	}
	until(b, "bearerbox is bound to the operator", 30*time.Second, func() bool { return strings.Contains(status(), "(online") })
	k.box(b, dir, "smsbox", p.smsbox, file)
	until(b, "smsbox is connected to bearerbox", 30*time.Second, func() bool { return strings.Contains(status(), "smsbox") })
	until(b, "smsbox takes requests", 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", k.sendsms)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	k.watched = append(k.watched, watched{name: "smscsim", pid: k.smscPID}, watched{name: "load generator", pid: os.Getpid()})
	return k
}

// box starts one of Kannel's two processes and ends it with the bench. What it
// had still to send is of no use to anybody, so it may be killed.
func (k *kannel) box(b *testing.B, dir, name, program, config string) {
	b.Helper()
	log := filepath.Join(dir, name+".log")
	out, err := os.Create(log)
	must(b, err)
	cmd := exec.Command(program, "-v", "4", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	must(b, cmd.Start())
	_ = out.Close()
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	b.Cleanup(func() {
		select {
		case <-ended:
			b.Errorf("%s ended by itself: %s", name, tail(log))
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		kill.Stop()
	})
	k.watched = append(k.watched, watched{name: name, pid: cmd.Process.Pid})
}

func (k *kannel) usages() map[string]usage {
	out := map[string]usage{}
	for _, w := range k.watched {
		out[w.name] = w.usage()
	}
	return out
}

func TestTheVersionOfKannelIsRead(t *testing.T) {
	for line, want := range map[string]string{"Kannel bearerbox version `1.4.5'.": "1.4.5", "": "of unknown version"} {
		if got := kannelVersion(line); got != want {
			t.Errorf("%q: %s", line, got)
		}
	}
}
