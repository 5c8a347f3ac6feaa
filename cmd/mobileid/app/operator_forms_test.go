package app_test

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

// TestTheHandsetShowsTheTextInEachFormOfAnOperator: what an operator's file
// says of alphabets and parts reaches him, and the person reads what was asked
// for. The texts of the catalogue fit one part and letters that all alphabets
// share; so the Message waits, sealed, with a text of the test's.
func TestTheHandsetShowsTheTextInEachFormOfAnOperator(t *testing.T) {
	long := strings.Repeat("Ваши данные использованы. ", 6) + "Конец."
	for name, c := range map[string]struct {
		text   string
		as     profile.Text
		coding byte
		parts  int
		fields []string // in each submit_sm
	}{
		"parts by sar_*": {
			long,
			profile.Text{Charset: sms.CharsetGSM7, Parts: sms.StyleSAR},
			8, 3,
			[]string{"tlv_0x020c", "tlv_0x020e", "tlv_0x020f"},
		},
		"message_payload": {long, profile.Text{Charset: sms.CharsetGSM7, Parts: sms.StylePayload}, 8, 1, []string{"tlv_0x0424"}},
		// In GSM 7-bit these are other octets, or none.
		"Latin-1": {"«Mobile-ID» @ $ [á]", profile.Text{Charset: sms.CharsetLatin1, Parts: sms.StyleUDH8}, 0, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := apptest.Options{Roles: []string{app.RoleGateway, app.RoleConsumers}}
			o.Change = func(cfg *config.Config) { cfg.Operators[0].Text = c.as }
			if c.as.Charset == sms.CharsetLatin1 {
				o.Charset = smsc.CharsetLatin1
			}
			s := look(t, o)
			p := s.Bind(471190, 1000_00)
			id := s.Call(http.MethodPost, "/v1/notifications", s.NewKey(), apptest.NoticeBody(p.PINFL)).JSON("id")
			s.Until("the Message waits for a bridge", func() bool { return s.messageState(id) == string(mobileid.MessageQueued) })
			s.reseal(id, mobileid.SealedText{To: p.Number, Text: c.text})
			s.Stop()
			s.Run(app.AllRoles()...) // its id may not have been on the lane yet
			s.Until("all of it is delivered", func() bool { return s.messageState(id) == string(mobileid.MessageDelivered) })

			got := s.SMSC.Received()
			if len(got) != c.parts || got[len(got)-1].Whole != c.text {
				t.Fatalf("%d submit_sm, want %d; the handset shows %q", len(got), c.parts, got[len(got)-1].Whole)
			}
			for _, m := range got {
				if m.DataCoding != c.coding || m.ESMClass != 0 || m.Dest != p.Number {
					t.Errorf("data_coding %d, esm_class %d", m.DataCoding, m.ESMClass)
				}
				for _, f := range c.fields {
					if m.Fields[f] == "" {
						t.Errorf("no %s in part %d", f, m.Part)
					}
				}
			}
		})
	}
}

// reseal gives a Message another text, sealed as the consumers seal.
func (l *looker) reseal(id string, text mobileid.SealedText) {
	l.t.Helper()
	sealer, err := mobileid.NewSealer(l.Config.Keys.BridgePublic, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	plain, err := json.Marshal(text)
	if err != nil {
		l.t.Fatal(err)
	}
	raw := l.rawID(id)
	sealed, err := sealer.Seal(raw, plain)
	if err != nil {
		l.t.Fatal(err)
	}
	tag, err := l.pool.Exec(l.t.Context(), `update messages set sealed = $2 where id = $1 and state = 'queued'`, raw, sealed)
	if err != nil || tag.RowsAffected() != 1 {
		l.t.Fatalf("%v, %d rows", err, tag.RowsAffected())
	}
}

// TestWhatASubscriberSendsIsKeptSealedAndPublished: from the handset to the
// topic nobody but the holder of the bridge's key can read it, and it is
// neither a receipt nor an answer to anything.
func TestWhatASubscriberSendsIsKeptSealedAndPublished(t *testing.T) {
	s := look(t, apptest.Options{})
	p := s.Bind(471191, 1000_00)
	const text = "id:1 stat:DELIVRD Тўхтатинг" // looks like a receipt
	if err := s.SMSC.SendInbound(smsc.Inbound{From: p.Number, To: "1140", Text: text}); err != nil {
		t.Fatal(err)
	}
	var told []kafkaRecord
	s.Until("it is published", func() bool { told = s.records(mobileid.TopicSMSInbound); return len(told) > 0 })
	var event mobileid.InboundReceived
	if err := json.Unmarshal([]byte(told[0].value), &event); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].headers["ce_type"] != mobileid.TypeInboundReceived || event.Operator != s.Config.Operators[0].ID ||
		event.Number == "" || told[0].key != event.Number {
		t.Errorf("%d records: %v, key %q, %+v", len(told), told[0].headers, told[0].key, event)
	}
	row := s.words(`select inbound::text from inbound`)
	for _, secret := range []string{p.Number, p.Number[3:], "DELIVRD", "Тўхтатинг", "1140"} {
		if strings.Contains(told[0].value+told[0].key+row, secret) {
			t.Errorf("%q is in the record or the row", secret)
		}
	}
	var private []string
	for _, k := range s.Config.Keys.BridgePrivate {
		private = append(private, k.Reveal())
	}
	opener, err := mobileid.NewOpener(private...)
	if err != nil {
		t.Fatal(err)
	}
	var octets []byte // UCS-2
	for _, unit := range utf16.Encode([]rune(text)) {
		octets = binary.BigEndian.AppendUint16(octets, unit)
	}
	s.Until("it is marked as published", func() bool { return s.number(`select count(*) from inbound where published_at is not null`) == 1 })
	var stored, aad []byte
	if err := s.pool.QueryRow(t.Context(), `select id, sealed from inbound`).Scan(&aad, &stored); err != nil {
		t.Fatal(err)
	}
	plain, err := opener.Open(aad, event.Sealed)
	var got mobileid.SealedInbound
	if err == nil {
		err = json.Unmarshal(plain, &got)
	}
	if err != nil || !slices.Equal(stored, event.Sealed) {
		t.Fatalf("%v; the row has what the record has: %v", err, slices.Equal(stored, event.Sealed))
	}
	if got.From != p.Number || got.To != "1140" || got.DataCoding != 8 || !slices.Equal(got.Octets, octets) {
		t.Error("the seal holds something else") // which is the person's own
	}
	if n := s.number(`select (select count(*) from receipts) + (select count(*) from receipts_unmatched) + (select count(*) from receipts_unread)`); n != 0 {
		t.Errorf("%d receipts", n)
	}
}
