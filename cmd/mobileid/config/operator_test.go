package config

import (
	"bytes"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mobileid/consumers/texts"
	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/diameter"
	"mobileid/smpp/profile"
)

func TestTheOperatorsSampleIsAValidManualOfTheDefaults(t *testing.T) {
	withSecrets(t)
	raw, err := beside("operator.sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o, wrong := parseOperator(raw, nil)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	want := defaultOperator()
	want.ID, want.Account, want.Binds, want.Senders = o.ID, o.Account, o.Binds, o.Senders
	want.Validity.Offset = o.Validity.Offset
	want.Statuses, want.Receipts.Rules = []Status{}, []profile.ReceiptRule{}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("the sample says\n%+v\nand the defaults are\n%+v", o, want)
	}
}

// A handset tells two long texts apart by their reference: it gets all 16 bits
// unless the operator's file asks for less, and what is counted before the
// operator is known is counted so, too.
func TestPartsCarrySixteenBitsOfTheirReferenceUnlessAskedForLess(t *testing.T) {
	const text = "Tasdiqlash kodi 739214. Hech kimga aytmang. "
	first := func(o sms.Options, reference uint16) []byte {
		e, err := o.Encode(strings.Repeat(text, 4), reference)
		if err != nil || len(e.Parts) < 2 {
			t.Fatalf("%d parts, %v", len(e.Parts), err)
		}
		return e.Parts[0].ShortMessage
	}
	o := defaultOperator().Profile().Text.Options()
	if bytes.Equal(first(o, 0x01cd), first(o, 0x02cd)) {
		t.Error("two references are one on the wire")
	}
	if edge := strings.Repeat("a", 2*153); o.Count(edge) != sms.Count(edge) {
		t.Errorf("%d parts by default, %d counted", o.Count(edge), sms.Count(edge))
	}
}

func TestEveryMistakeOfAnOperatorComesAtOnceWithItsPath(t *testing.T) {
	withSecrets(t)
	raw, err := beside("operator.sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for old, wrong := range map[string]string{
		"system_id: mobileid":                 "system_id: mobileid-of-the-whole-country",
		"password: env:MOBILEID_SMPP_BEELINE": "password: hunter2",
		"type: transceiver":                   "type: sideways",
		"hosts: [127.0.0.1:2775]":             "hosts: [somewhere]",
		"window: 10":                          "window: 0",
		"response: 10s":                       "response: never",
		"rate: 0, burst: 5":                   "rate: -1, burst: 0",
		`kind: "", addr: MobileID`:            `kind: otp, addr: MobileIDentity`,
		"charset: gsm7":                       "charset: morse",
		"format: relative":                    "format: maybe",
		"offset: 5h":                          "offset: 20m",
		"answer: as_is":                       "answer: octal",
		"statuses: []":                        "statuses: [{status: 0x400, class: fatal}, {status: 0x08, class: retry}, {status: 0, class: pace}]",
		"rules: []":                           "rules: [{stat: X, state: gone}]",
		"final_unknown: false":                "final_unknown: false\n  mercy: 1",
		"enabled: true":                       "enabled: true\ntariff: \"120.00\"",
		`pattern: ""`:                         `pattern: '(?P<id>\d+'`,
		"untyped: false":                      "untyped: perhaps",
		"by: ledger":                          "by: barter",
		"duplicates: debited":                 "duplicates: perhaps",
		"timeout: 8s":                         "timeout: 1ms",
		"at_once: 1000":                       "at_once: 0",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the sample has no %q", old)
		}
		text = strings.Replace(text, old, wrong, 1)
	}
	_, wrong := parseOperator([]byte(text), nil)
	for _, path := range []string{
		"account.system_id:", "account.password:", "binds[0].type:", "binds[0].hosts[0]:", "binds:", "timers.response:",
		"pace.rate:", "pace.burst:", "senders[0].addr:", "senders:", "text.charset:", "validity.format:", "validity.offset:",
		"ids.answer:", "statuses[0x400].class:", "statuses[0x08].after:", "statuses[0x00]:", "receipts.rules[0].state:",
		"tariff: was moved to the file of tariffs", "receipts.mercy:", "receipts.pattern:", "receipts.untyped:",
		"charging.by:", "charging.duplicates:", "charging.timeout:", "charging.at_once:",
	} {
		if !slices.ContainsFunc(wrong, func(m string) bool { return strings.HasPrefix(m, path) }) {
			t.Errorf("no mistake at %s in:\n%v", path, wrong)
		}
	}
	if strings.Contains(wrong.Error(), "hunter2") {
		t.Error("a mistake repeats the secret that was written into the file")
	}
}

func TestAnOperatorsStatusesAreLaidOverTheCommonTable(t *testing.T) {
	o := defaultOperator()
	o.Statuses = []Status{{Status: 0x08, Class: profile.ClassPermanent}, {Status: 0x400, Class: profile.ClassBalance, Name: "no credit"}}
	table := o.statuses()
	for status, want := range map[uint32]profile.StatusRule{
		0x08:  {Name: "RSYSERR", Class: profile.ClassPermanent},
		0x400: {Name: "no credit", Class: profile.ClassBalance},
		0x58:  {Name: "RTHROTTLED", Class: profile.ClassPace},
		0x45:  {Name: "RSUBMITFAIL", Class: profile.ClassRetry, After: 3 * time.Second, Tries: 1},
	} {
		if got, mapped := table.Rule(status); got != want || !mapped {
			t.Errorf("0x%02x: %+v", status, got)
		}
	}
	if got, mapped := table.Rule(0x401); got.Class != profile.ClassPermanent || mapped {
		t.Errorf("a status that nobody knows: %+v, mapped %t", got, mapped)
	}
}

func TestTheConfigurationsStatusesHoldForAllOperatorsButTheirOwnRows(t *testing.T) {
	withSecrets(t)
	text := strings.Replace(string(sample(t)), "statuses: []", `statuses:
  - {status: 0x45, class: permanent}
  - {status: 0x400, class: balance, name: no credit}
  - {status: 0x08, class: retry, after: 9s}`, 1)
	own := func(name string) ([]byte, error) {
		raw, err := beside(name)
		return []byte(strings.Replace(string(raw), "statuses: []", "statuses: [{status: 0x08, class: permanent}]", 1)), err
	}
	cfg, err := parse([]byte(text), nil, texts.Default(), own)
	if err != nil {
		t.Fatal(err)
	}
	table := cfg.Operators[0].Profile().Statuses
	for status, want := range map[uint32]profile.StatusRule{
		0x45:  {Name: "RSUBMITFAIL", Class: profile.ClassPermanent},
		0x400: {Name: "no credit", Class: profile.ClassBalance},
		0x08:  {Name: "RSYSERR", Class: profile.ClassPermanent},
		0x58:  {Name: "RTHROTTLED", Class: profile.ClassPace},
	} {
		if got, mapped := table.Rule(status); got != want || !mapped {
			t.Errorf("0x%02x: %+v", status, got)
		}
	}
}

// What only a mistake of ours can be answered with has its alarm.
func TestStatusesThatTellOfOurOwnMistakesAreOfTheConfiguration(t *testing.T) {
	table := defaultOperator().statuses()
	for _, status := range []uint32{0x01, 0x02, 0x03} {
		if got, _ := table.Rule(status); got.Class != profile.ClassConfig {
			t.Errorf("0x%02x is of class %s", status, got.Class)
		}
	}
}

// The whole of the common table, status by status: SMPP 3.4, 5.1.3, and what
// operators mean by it in practice.
func TestTheClassOfEveryCommonStatus(t *testing.T) {
	rows := map[profile.Class][]uint32{
		profile.ClassPace:      {0x14, 0x58},
		profile.ClassRetry:     {0x08, 0x45, 0x64, 0xFE, 0xFF},
		profile.ClassPermanent: {0x0B, 0x0C, 0x11, 0x13, 0x33, 0x34, 0x40, 0x42, 0x44, 0x65, 0x66, 0x67},
		profile.ClassSession:   {0x04, 0x05},
		profile.ClassConfig: {
			0x01, 0x02, 0x03, 0x06, 0x07, 0x0A, 0x0D, 0x0E, 0x0F, 0x15, 0x43, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54, 0x55,
			0x61, 0x62, 0x63, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4,
		},
	}
	once := []uint32{0x45, 0xFE, 0xFF} // too vague to be tried until the deadline
	table, known := defaultOperator().statuses(), 0
	for class, codes := range rows {
		known += len(codes)
		for _, code := range codes {
			got, mapped := table.Rule(code)
			if !mapped || got.Class != class || got.Name == "" {
				t.Errorf("0x%02x: %+v, want class %s", code, got, class)
			}
			if class == profile.ClassRetry && (got.Tries == 1) != slices.Contains(once, code) {
				t.Errorf("0x%02x is tried %d more times", code, got.Tries)
			}
		}
	}
	if len(table) != known {
		t.Errorf("%d statuses in the table, want %d", len(table), known)
	}
}

// Where the operator debits subscribers by himself, what is free for them needs a
// sender that he does not debit for.
func TestWhatIsFreeNeedsASenderThatIsNotDebited(t *testing.T) {
	operator := func(by mobileid.Charging, senders ...profile.Sender) Operator {
		o := defaultOperator()
		o.ID, o.Charging.By = "beeline", by
		o.Senders = slices.Concat(senders, []profile.Sender{{Addr: "MobileID"}})
		return o
	}
	free, debited := profile.Sender{Kind: "enrollment", Addr: "1", Free: true}, profile.Sender{Kind: "enrollment", Addr: "1"}
	for name, c := range map[string]struct {
		operator Operator
		kinds    []string
		mistakes int
	}{
		"nothing is free":              {operator(mobileid.ChargingOperator), nil, 0},
		"we charge":                    {operator(mobileid.ChargingLedger), []string{"enrollment"}, 0},
		"his charging system is asked": {operator(mobileid.ChargingDiameter), []string{"enrollment"}, 0},
		"no sender":                    {operator(mobileid.ChargingOperator), []string{"enrollment", "login"}, 2},
		"a sender that is debited":     {operator(mobileid.ChargingOperator, debited), []string{"enrollment"}, 1},
		"a sender that is free":        {operator(mobileid.ChargingOperator, free), []string{"enrollment"}, 0},
		"free, and another kind":       {operator(mobileid.ChargingOperator, free), []string{"enrollment", "login"}, 1},
	} {
		var wrong Mistakes
		if checkFree([]Operator{c.operator}, c.kinds, &wrong); len(wrong) != c.mistakes {
			t.Errorf("%s: %v, want %d mistakes", name, wrong, c.mistakes)
		}
	}
}

// A charging system that is asked is read whole, and what is wrong with it is told
// with its path; of one that is not asked nothing is.
func TestTheChargingSystemOfAnOperatorIsReadAndChecked(t *testing.T) {
	raw, err := beside("operator.sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	withSecrets(t)
	text := strings.NewReplacer(
		"by: ledger", "by: diameter", `origin_host: ""`, `origin_host: "{host}.mobileid.test"`, `origin_realm: ""`, "origin_realm: mobileid.test",
		`session_host: ""`, "session_host: charging.mobileid.test", `destination_realm: ""`, "destination_realm: ocs.test",
		"peers: []", "peers: [{name: a, address: '127.0.0.1:3868', destination_host: ocs1.ocs.test}, {name: b, address: '127.0.0.1:3869'}]",
		"services: []", "services: [{kind: otp, identifier: 1, rating_group: 10}]", `sender: ""`, "sender: MobileID", "tx: 3s", "tx: 2s",
	).Replace(string(raw))
	o, wrong := parseOperator([]byte(text), nil)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	got := o.Diameter.Client("node-7")
	want := diameter.Config{
		OriginHost: "node-7.mobileid.test", OriginRealm: "mobileid.test", SessionHost: "charging.mobileid.test", DestinationRealm: "ocs.test",
		ServiceContext: "8.32274@3gpp.org", Mode: diameter.ECUR, FailureHandling: diameter.Continue, DebitFailure: diameter.TerminateOrBuffer,
		Peers:    []diameter.Peer{{Name: "a", Address: "127.0.0.1:3868", DestinationHost: "ocs1.ocs.test"}, {Name: "b", Address: "127.0.0.1:3869"}},
		Services: map[string]diameter.Service{"otp": {Identifier: 1, RatingGroup: 10}}, Sender: "MobileID", Tx: 2 * time.Second, Tw: 30 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwant %+v", got, want)
	}

	text = strings.NewReplacer("session_host: charging.mobileid.test", `session_host: ""`, "127.0.0.1:3869", "somewhere", "tx: 2s", "tx: 5s", "mode: ecur", "mode: barter").Replace(text)
	_, wrong = parseOperator([]byte(text), nil)
	for _, path := range []string{"diameter.session_host:", "diameter.peers[1].address:", "diameter.mode:", "charging.timeout:"} {
		if !slices.ContainsFunc(wrong, func(m string) bool { return strings.HasPrefix(m, path) }) {
			t.Errorf("no mistake at %s in:\n%v", path, wrong)
		}
	}
	none := strings.NewReplacer("by: diameter", "by: ledger", "mode: barter", "mode: ecur")
	text = regexp.MustCompile(`peers: \[[^\]]*\]`).ReplaceAllString(none.Replace(text), "peers: []")
	if _, wrong := parseOperator([]byte(text), nil); len(wrong) != 0 {
		t.Errorf("a charging system that is not there is checked: %v", wrong)
	}
}
