package smpp

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
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

// user_message_reference is an optional parameter, and the only one of a text
// of one part: an operator before SMPP 3.4 reads none, and some refuse this one.
func TestTheReferenceGoesToWhoeverTakesIt(t *testing.T) {
	saying := func(version ...byte) func(wire.Frame) []byte {
		return func(bind wire.Frame) []byte {
			b := wire.AppendCString(nil, bind.Command.Response(), wire.StatusOK, bind.Sequence, "smsc")
			for _, v := range version {
				b = append(binary.BigEndian.AppendUint32(b, uint32(wire.TagSCInterfaceVersion)<<16|1), v)
			}
			binary.BigEndian.PutUint32(b, uint32(len(b)))
			return b
		}
	}
	for name, c := range map[string]struct {
		answer func(wire.Frame) []byte
		off    bool
		want   bool
	}{
		"3.4":                      {answer: saying(0x34), want: true},
		"5.0":                      {answer: saying(0x50), want: true},
		"3.3":                      {answer: saying(0x33)},
		"says no version":          {answer: saying()},
		"3.4, and refuses it":      {answer: saying(0x34), off: true},
		"the simulator, which can": {answer: func(f wire.Frame) []byte { return wire.AppendBindAnswer(nil, f.Command, f.Sequence, "smsc") }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := answeringBinds(t, c.answer, func(_ *rig, p *profile.Profile) {
				p.Text.Reference = !c.off
				p.Dest = profile.Dest{TON: 2, NPI: 8}
			})
			o.mustTake(mobileid.LaneOTP, o.message(mobileid.LaneOTP, nil))
			f, err := wire.Read(o.conn)
			if err != nil {
				t.Fatal(err)
			}
			var m wire.Message
			if err := wire.DecodeMessage(f, &m); err != nil || m.Command != wire.SubmitSM {
				t.Fatalf("%s: %v", f.Command, err)
			}
			if _, has := m.Optional(wire.TagUserMessageReference); has != c.want || !has && len(m.TLV) > 0 {
				t.Errorf("parameters %v", m.TLV)
			}
			if want := (wire.Address{TON: 2, NPI: 8, Addr: secretTo}); m.Dest != want {
				t.Error("destination_addr is not in the operator's form")
			}
		})
	}
}

// sar parameters and a user data header exclude each other, and so do the text's
// two places (SMPP 3.4, 5.2.12, 5.3.2.32).
func TestTheStylesOfPartsAreNotMixed(t *testing.T) {
	p, now := testProfile("", 10), time.Now()
	text := mobileid.SealedText{To: secretTo, Text: strings.Repeat("Uzun matn. ", 20)}
	for style, want := range map[sms.Style]struct {
		parts        int
		esm          byte
		sar, payload bool
	}{
		sms.StyleUDH8:    {parts: 2, esm: wire.ESMClassUDHI},
		sms.StyleUDH16:   {parts: 2, esm: wire.ESMClassUDHI},
		sms.StyleSAR:     {parts: 2, sar: true},
		sms.StylePayload: {parts: 1, payload: true},
	} {
		p.Text.Parts = style
		pdus, err := submits(p, "", text, 1, now.Add(time.Minute), now)
		if err != nil || len(pdus) != want.parts {
			t.Fatalf("%s: %d parts, %v", style, len(pdus), err)
		}
		for _, raw := range pdus {
			var m wire.Message
			if err := wire.DecodeMessage(wire.Frame{Command: wire.SubmitSM, Raw: raw}, &m); err != nil {
				t.Fatal(err)
			}
			_, sar := m.Optional(wire.TagSARMsgRefNum)
			_, payload := m.Optional(wire.TagMessagePayload)
			if m.ESMClass != want.esm || sar != want.sar || payload != want.payload || payload && len(m.ShortMessage) > 0 {
				t.Errorf("%s: esm_class 0x%02x, sar %t, payload %t", style, m.ESMClass, sar, payload)
			}
		}
	}
}
