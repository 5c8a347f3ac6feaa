package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"mobileid/smpp/wire"
)

// Hex writes a line a PDU: when, on which link, who sent it, what it is, and
// its octets.
type Hex struct{ out io.Writer }

// NewHex begins a file.
func NewHex(out io.Writer) Hex { return Hex{out} }

// Write prints one PDU, masked.
func (h Hex) Write(r Record) error {
	if len(r.PDU) < wire.HeaderLen {
		return nil
	}
	who := "operator"
	if r.Direction == Out {
		who = "us"
	}
	pdu := Mask(r.PDU)
	_, err := fmt.Fprintf(h.out, "%s %s %s %s %s sequence=%d %x\n",
		r.At.UTC().Format(time.RFC3339Nano), r.Session.Link, who,
		wire.Command(binary.BigEndian.Uint32(pdu[4:])), wire.Status(binary.BigEndian.Uint32(pdu[8:])),
		binary.BigEndian.Uint32(pdu[12:]), pdu)
	return err
}

// End says how many records are missing.
func (h Hex) End(lost int64) error {
	_, err := fmt.Fprintf(h.out, "# %d PDUs are missing: the reader was slow\n", lost)
	return err
}
