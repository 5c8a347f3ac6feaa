package smpp

import (
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

func TestValidityPeriodInTheOperatorsForm(t *testing.T) {
	now := time.Date(2026, 12, 31, 20, 59, 30, 0, time.UTC)
	for _, c := range []struct {
		v    profile.Validity
		left time.Duration
		want string
	}{
		{profile.Validity{Format: profile.Relative, Min: time.Minute, Max: 72 * time.Hour}, 5 * time.Minute, "000000000500000R"},
		{profile.Validity{Format: profile.Relative, Min: time.Minute, Max: 72 * time.Hour}, -time.Hour, "000000000100000R"},
		{profile.Validity{Format: profile.Relative, Min: 5 * time.Minute, Max: 72 * time.Hour}, time.Minute, "000000000500000R"},
		{profile.Validity{Format: profile.Relative, Max: 24 * time.Hour}, 400 * 24 * time.Hour, "000001000000000R"},
		{profile.Validity{Format: profile.Absolute, Max: 72 * time.Hour, Offset: 5 * time.Hour}, time.Minute, "270101020030020+"},
		{profile.Validity{Format: profile.Absolute, Max: 72 * time.Hour}, time.Minute, "261231210030000+"},
		{profile.Validity{Format: profile.NoPeriod, Max: 72 * time.Hour}, time.Minute, ""},
	} {
		if got := validity(c.v, now.Add(c.left), now); got != c.want {
			t.Errorf("%+v, %v left: %q, want %q", c.v, c.left, got, c.want)
		}
	}
}

// What the profile says of senders, alphabet and parts is what the operator
// reads.
func TestAMessageIsWrittenAsTheProfileSays(t *testing.T) {
	r := newRig(t, func(c *Config, _ *smsc.Config) {
		c.Profile.Text = profile.Text{Charset: sms.CharsetUCS2, Parts: sms.StyleSAR}
		c.Profile.Validity.Format = profile.NoPeriod
		c.Profile.Senders = []profile.Sender{
			{Addr: "MobileID", TON: 5}, {Kind: "otp", Addr: "1100", TON: 3, NPI: 1, ServiceType: "FREE"},
		}
	})
	r.start()
	code := r.message(mobileid.LaneOTP, func(x *row) { x.admission.TextID = "otp.sign_in" })
	notice := r.message(mobileid.LaneBulk, func(x *row) { x.admission.TextID = "notice.data_access" })
	for lane, id := range map[mobileid.Lane]mobileid.ID{mobileid.LaneOTP: code, mobileid.LaneBulk: notice} {
		r.mustTake(lane, id)
		r.until(id, mobileid.MessageSent)
	}
	from := map[string]string{}
	for _, m := range r.smsc.Received() {
		from[m.Source] = m.Fields["service_type"]
		if m.DataCoding != sms.DataCodingUCS2 || m.Validity != "" || m.ESMClass != 0 {
			t.Errorf("%+v", m)
		}
	}
	if len(from) != 2 || from["1100"] != "FREE" || from["MobileID"] != "" {
		t.Errorf("senders and their service_type: %v", from)
	}
}
