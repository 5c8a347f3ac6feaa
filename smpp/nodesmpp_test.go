package smpp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// noTools is the environment variable that lets outside programs be absent;
// TOOLS=0 make test sets it.
const noTools = "MOBILEID_TEST_NO_TOOLS"

// nodeModules is where deploy/dev/test-tools installs node-smpp.
const nodeModules = "../.run/node-smpp/node_modules"

// seen is what the SMSC tells of one event.
type seen struct {
	Event, Source, Dest, Text, UDH string
	Port, Coding, Status, Version  int
}

// nodeSMSC is an SMSC that nobody here wrote: node-smpp, with our script.
type nodeSMSC struct {
	t      *testing.T
	in     io.Writer
	events chan seen
	port   int
	acks   int // deliver_sm_resp that sees has passed
}

func startNodeSMSC(t *testing.T, answerBase, receiptBase int) *nodeSMSC {
	t.Helper()
	modules, err := filepath.Abs(nodeModules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "smpp")); err != nil {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no node-smpp and " + noTools + " is set: an SMSC that nobody here wrote is NOT tested")
		}
		t.Fatal("node-smpp is missing: run deploy/dev/test-tools, or set " + noTools + "=1")
	}
	cmd := exec.Command("node", "testdata/node-smpp/smsc.js", fmt.Sprint(answerBase), fmt.Sprint(receiptBase))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &nodeSMSC{t: t, in: in, events: make(chan seen, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e seen
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%s: %v", lines.Bytes(), err)
			}
			n.events <- e
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	n.port = n.sees("listening").Port
	return n
}

// sees waits for an event. Others may come before it; errors may not.
func (n *nodeSMSC) sees(event string) seen {
	n.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e := <-n.events:
			switch {
			case e.Event == "error":
				n.t.Fatalf("node-smpp: %s", e.Text)
			case e.Status != 0:
				n.t.Errorf("%s with status 0x%x", e.Event, e.Status)
			case e.Event == "deliver_sm_resp":
				n.acks++
			}
			if e.Event == event {
				return e
			}
		case <-limit:
			n.t.Fatalf("node-smpp never saw: %s", event)
		}
	}
}

func (n *nodeSMSC) shall(do string) {
	n.t.Helper()
	if _, err := fmt.Fprintln(n.in, do); err != nil {
		n.t.Fatal(err)
	}
}

// nodeRig is a bridge that is bound to node-smpp.
func nodeRig(t *testing.T, n *nodeSMSC, tune func(*profile.Profile)) *rig {
	t.Helper()
	p := testProfile(fmt.Sprintf("127.0.0.1:%d", n.port), 10)
	if tune != nil {
		tune(&p)
	}
	r := assemble(t, Config{Profile: p, RetryEvery: 20 * time.Millisecond})
	r.start()
	if v := n.sees("bind_transceiver").Version; v != 0x34 {
		t.Errorf("interface_version 0x%x", v)
	}
	return r
}

// says queues a Message with a text.
func (r *rig) says(text string) mobileid.ID {
	return r.message(mobileid.LaneOTP, func(x *row) {
		plain, _ := json.Marshal(mobileid.SealedText{To: secretTo, Text: text})
		x.admission.Sealed, _ = r.sealer.Seal(x.admission.ID[:], plain)
	})
}

func TestNodeSMPPReadsOurTextsAndWeItsReceipts(t *testing.T) {
	const gsm7, ucs2 = 0, 8
	for _, bases := range []struct {
		answer, receipt int
		ids             profile.IDs
	}{
		{16, 10, profile.IDs{Answer: profile.Hex, Receipt: profile.Decimal}},
		{10, 16, profile.IDs{Answer: profile.Decimal, Receipt: profile.Hex}},
		{16, 16, profile.IDs{Answer: profile.AsIs, Receipt: profile.AsIs}},
	} {
		t.Run(fmt.Sprintf("ids in base %d, in receipts %d", bases.answer, bases.receipt), func(t *testing.T) {
			n := startNodeSMSC(t, bases.answer, bases.receipt)
			r := nodeRig(t, n, func(p *profile.Profile) { p.IDs = bases.ids })
			want := map[string]bool{} // the normal forms of operator ids
			for _, c := range []struct {
				text   string
				coding int
				parts  int
			}{
				{"Kod 739214 [€] @£$ {}~^|\\ oʻzbek gʻisht", gsm7, 1},
				{"Ваш код 739214 ə 🙂", ucs2, 1},
				{strings.Repeat("Uzun matn €[]. ", 25), gsm7, 3},
				{strings.Repeat("Узун матн 🙂. ", 12), ucs2, 3},
			} {
				id := r.says(c.text)
				r.mustTake(mobileid.LaneOTP, id)
				whole, udh := "", ""
				for part := range c.parts {
					e := n.sees("submit_sm")
					if e.Coding != c.coding || e.Source != "MobileID" || e.Dest != secretTo {
						t.Errorf("%q: %+v", c.text, e)
					}
					switch {
					case c.parts == 1 && e.UDH != "":
						t.Errorf("%q: user data header %s", c.text, e.UDH)
					case c.parts > 1 && (len(e.UDH) != 10 && len(e.UDH) != 12 || !strings.HasSuffix(e.UDH, fmt.Sprintf("%02x%02x", c.parts, part+1))):
						t.Errorf("%q: part %d has header %s", c.text, part+1, e.UDH)
					case c.parts > 1 && part > 0 && e.UDH[:len(e.UDH)-2] != udh:
						t.Errorf("%q: part %d is of another text", c.text, part+1)
					}
					if len(e.UDH) > 2 {
						udh = e.UDH[:len(e.UDH)-2]
					}
					whole += e.Text
				}
				// The letters of Uzbek that GSM-7 lacks are written as its apostrophe.
				if whole != strings.ReplaceAll(c.text, "ʻ", "'") {
					t.Errorf("node-smpp reads %q, written was %q", whole, c.text)
				}
				r.until(id, mobileid.MessageSent)
				for _, p := range r.last(id).Parts {
					want[p.OperatorID] = true
				}
			}
			for n.acks < len(want) {
				n.sees("deliver_sm_resp")
			}
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			if len(want) != 8 || len(r.store.receipts) != 8 {
				t.Errorf("%d operator ids, %d receipts, want 8", len(want), len(r.store.receipts))
			}
			for _, rc := range r.store.receipts {
				if !want[rc.OperatorID] || rc.State != mobileid.MessageDelivered || rc.Dest == (mobileid.Pseudonym{}) {
					t.Errorf("receipt %+v is of no part", rc)
				}
				delete(want, rc.OperatorID)
			}
		})
	}
}

func TestNodeSMPPAndWeAskEachOtherAndPart(t *testing.T) {
	n := startNodeSMSC(t, 16, 16)
	r := nodeRig(t, n, func(p *profile.Profile) { p.Timers.EnquireLink = 200 * time.Millisecond })
	n.sees("enquire_link")
	n.sees("enquire_link") // the first was answered: it is the same bind
	n.shall("enquire_link")
	n.sees("enquire_link_resp")
	carried := func() {
		t.Helper()
		id := r.message(mobileid.LaneOTP, nil)
		r.mustTake(mobileid.LaneOTP, id)
		r.until(id, mobileid.MessageSent)
	}
	carried()
	n.shall("unbind")
	n.sees("unbind_resp")
	n.sees("bind_transceiver")
	carried()
	n.shall("cut")
	n.sees("bind_transceiver")
	carried()
	r.stop()
	n.sees("unbind")
	n.sees("closed")
	for _, o := range r.store.outcomes {
		if o.State != mobileid.MessageSent {
			t.Errorf("outcome %+v", o)
		}
	}
}
