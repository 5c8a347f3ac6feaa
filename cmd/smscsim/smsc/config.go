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
	SystemID    string            // "smscsim": what binds are answered with

	ReceiptDelay  time.Duration // from the submit_sm to its receipt; 0 = at once
	RedeliverWait time.Duration // 1 s: until a receipt that was not acknowledged is sent again
	Redeliver     int           // 20 tries of a receipt
	Enquire       time.Duration // enquire_link to each bind after this silence; 0 = never
	MaxMessages   int           // 100,000: older submits leave the log in memory
	LogFile       string        // every submit as a JSON line; "" = none
	StateFile     string        // receipts still owed, so that a restart sends them; "" = forgotten
	Log           *slog.Logger  // of binds and faults; texts are not in it
}

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
