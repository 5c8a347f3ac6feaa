package smpp

import (
	"time"

	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

// testProfile is an operator with one transceiver, at smscsim when addr is "".
func testProfile(addr string, window int) profile.Profile {
	bind := profile.Bind{Name: "a", Type: profile.Transceiver, Window: window}
	if addr != "" {
		bind.Hosts = []string{addr}
	}
	return profile.Profile{
		ID: "beeline", Enabled: true,
		Account: profile.Account{SystemID: "mobileid", Password: "secret"},
		Binds:   []profile.Bind{bind},
		Timers: profile.Timers{
			Dial: 5 * time.Second, Bind: 10 * time.Second, Response: 10 * time.Second, Write: 5 * time.Second,
			EnquireLink: 30 * time.Second, ReconnectMin: 20 * time.Millisecond, ReconnectMax: 30 * time.Second,
			Refused: 2 * time.Minute,
		},
		Pace:     profile.Pace{Burst: 5, Adaptive: true},
		Senders:  []profile.Sender{{Addr: "MobileID", TON: 5}},
		Text:     profile.Text{Charset: sms.CharsetGSM7, Parts: sms.StyleUDH16, Reference: true},
		Dest:     profile.Dest{TON: 1, NPI: 1},
		Validity: profile.Validity{Format: profile.Relative, Min: time.Minute, Max: 72 * time.Hour},
		IDs:      profile.IDs{Answer: profile.AsIs, Receipt: profile.AsIs},
		Statuses: profile.Statuses{
			0x04: {Class: profile.ClassSession}, 0x0A: {Class: profile.ClassConfig}, 0x0B: {Class: profile.ClassPermanent},
			0x08: {Class: profile.ClassRetry, After: 100 * time.Millisecond}, 0x45: {Class: profile.ClassRetry, After: 100 * time.Millisecond, Tries: 1},
			0x14: {Class: profile.ClassPace}, 0x58: {Class: profile.ClassPace},
			0x400: {Class: profile.ClassBalance}, 0x401: {Class: profile.ClassUnknown},
		},
	}
}
