package smsc

import (
	"log/slog"
	"time"
)

// Config is how a Server runs. Zero values mean the default beside them.
type Config struct {
	Addr        string            // SMPP; "127.0.0.1:0" picks a free port
	ControlAddr string            // HTTP control API; "" = none
	Accounts    map[string]string // system_id -> password
	Charsets    map[string]string // system_id -> what data_coding 0 means: CharsetGSM7 (the default), CharsetLatin1, CharsetASCII
	SystemID    string            // "smscsim": what binds are answered with

	Faults []Fault // in force from the start; one that is done once does nothing

	ReceiptDelay  time.Duration // from the submit_sm to its receipt; 0 = at once
	RedeliverWait time.Duration // 1 s: until a receipt that was not acknowledged is sent again
	Redeliver     int           // 20 tries of a receipt
	Enquire       time.Duration // enquire_link to each bind after this silence; 0 = never
	MaxMessages   int           // 100,000: older submits leave the log in memory
	LogFile       string        // every submit as a JSON line; "" = none
	StateFile     string        // receipts still owed, so that a restart sends them; "" = forgotten
	Log           *slog.Logger  // of binds and faults; texts are not in it
}

// The charsets that operators mean by data_coding 0.
const (
	CharsetGSM7   = "gsm7" // one septet a byte
	CharsetLatin1 = "latin1"
	CharsetASCII  = "ascii"
)

// Charsets lists them.
func Charsets() []string { return []string{CharsetGSM7, CharsetLatin1, CharsetASCII} }

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.SystemID == "" {
		c.SystemID = "smscsim"
	}
	if c.RedeliverWait <= 0 {
		c.RedeliverWait = time.Second
	}
	if c.Redeliver <= 0 {
		c.Redeliver = 20
	}
	if c.MaxMessages <= 0 {
		c.MaxMessages = 100_000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
