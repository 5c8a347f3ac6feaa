package demo

import (
	"fmt"
	"path/filepath"
	"time"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// startOperator starts the simulated operator. A person's own is left alone:
// what passes there is known from our side only, and no handset shows it.
func (d *demo) startOperator() error {
	if d.opts.SMSC != "" {
		d.operator, d.pdus = d.opts.SMSC, newPDULog()
		return sandbox.KeepPassword(d.dir, d.opts.Password)
	}
	password, err := sandbox.Secret(d.dir, "smpp")
	if err != nil {
		return err
	}
	d.smsc, err = smsc.Start(smsc.Config{
		Addr: "127.0.0.1:0", Accounts: map[string]string{sandbox.SystemID: password},
		ReceiptDelay: 700 * time.Millisecond, Log: d.opts.Log,
		// An operator does not forget the receipts it owes when we are killed.
		StateFile: filepath.Join(d.dir, "operator-receipts.jsonl"),
	})
	if err != nil {
		return fmt.Errorf("start the simulated operator: %w", err)
	}
	d.operator = d.smsc.Addr()
	d.pdus, d.watched = watchPDUs(d.smsc)
	d.sayf("operator (smscsim, SMPP 3.4) on %s", d.operator)
	return d.failPhones()
}

// failPhones tells the simulated operator which handsets are out of reach.
func (d *demo) failPhones() error {
	for _, p := range persons() {
		if p.phone == "" {
			continue
		}
		m, err := mobileid.ParseMSISDN(p.number)
		if err != nil {
			return err
		}
		err = d.smsc.SetFault(smsc.Fault{Kind: smsc.FaultReceipt, To: m.RevealDigits(), State: p.phone})
		if err != nil {
			return err
		}
	}
	return nil
}

// persons are those of this demo: with a person's own operator the first may
// have a real number, and no handset is known to be out of reach.
func (d *demo) persons() []person {
	all := persons()
	if d.opts.SMSC == "" {
		return all
	}
	for i := range all {
		if all[i].phone != "" {
			all[i].note, all[i].phone = "", ""
		}
	}
	if d.opts.Number != "" {
		all[0].number, all[0].note = d.opts.Number, "the number of --number"
	}
	return all
}
