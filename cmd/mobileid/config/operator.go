package config

import (
	_ "embed"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mobileid/internal/mobileid"
	"mobileid/internal/sms"
	"mobileid/smpp/profile"
)

// Operator is the file of one mobile operator. operator.sample.yaml is its
// manual.
type Operator struct {
	ID       string           `yaml:"id"`
	Enabled  bool             `yaml:"enabled"` // false: the kill switch
	Account  OperatorAccount  `yaml:"account"`
	Binds    []profile.Bind   `yaml:"binds"`
	Timers   profile.Timers   `yaml:"timers"`
	Pace     profile.Pace     `yaml:"pace"`
	Senders  []profile.Sender `yaml:"senders"`
	Dest     profile.Dest     `yaml:"dest"`
	Text     profile.Text     `yaml:"text"`
	Validity profile.Validity `yaml:"validity"`
	IDs      profile.IDs      `yaml:"ids"`
	Statuses []Status         `yaml:"statuses"` // laid over the common ones
	Receipts profile.Receipts `yaml:"receipts"`
	Charging profile.Charging `yaml:"charging"`
	Diameter Diameter         `yaml:"diameter"` // with charging.by diameter

	Common []Status `yaml:"-"` // the configuration's own rows, for all operators
}

// OperatorAccount is who we are at the operator.
type OperatorAccount struct {
	SystemID   string `yaml:"system_id"`
	Password   Secret `yaml:"password"`
	SystemType string `yaml:"system_type"`
}

// Status is a row of a table of statuses.
type Status struct {
	Status uint32        `yaml:"status"`
	Name   string        `yaml:"name"`
	Class  profile.Class `yaml:"class"`
	After  time.Duration `yaml:"after"`
	Tries  int           `yaml:"tries"`
}

// commonStatuses is what command_status means at operators who have not said
// otherwise.
//
//go:embed statuses.yaml
var commonStatuses []byte

// defaultOperator holds the values of everything that may be left out.
func defaultOperator() Operator {
	return Operator{
		Enabled: true,
		Timers: profile.Timers{
			Dial: 5 * time.Second, Bind: 10 * time.Second, Response: 10 * time.Second, Write: 5 * time.Second,
			EnquireLink: 30 * time.Second, ReconnectMin: 500 * time.Millisecond, ReconnectMax: 30 * time.Second,
			Refused: 2 * time.Minute,
		},
		Pace:     profile.Pace{Burst: 5, Adaptive: true},
		Dest:     profile.Dest{TON: 1, NPI: 1},
		Text:     profile.Text{Charset: sms.CharsetGSM7, Parts: sms.StyleUDH16, Reference: true},
		Validity: profile.Validity{Format: profile.Relative, Min: time.Minute, Max: 72 * time.Hour},
		IDs:      profile.IDs{Answer: profile.AsIs, Receipt: profile.AsIs},
		Charging: profile.Charging{
			By: mobileid.ChargingLedger, Duplicates: profile.DuplicatesDebited, Timeout: 8 * time.Second, AtOnce: 1000,
		},
		Diameter: defaultDiameter(),
	}
}

// Profile is the operator as the bridge needs it.
func (o Operator) Profile() profile.Profile {
	return profile.Profile{
		ID: o.ID, Enabled: o.Enabled,
		Account: profile.Account{
			SystemID: o.Account.SystemID, Password: o.Account.Password.Reveal(), SystemType: o.Account.SystemType,
		},
		Binds: o.Binds, Timers: o.Timers, Pace: o.Pace, Senders: o.Senders, Dest: o.Dest, Text: o.Text, Validity: o.Validity,
		IDs: o.IDs, Statuses: o.statuses(), Receipts: o.Receipts, Charging: o.Charging,
	}
}

// statuses lays the rows of the configuration over the program's table, and the
// operator's over both.
func (o Operator) statuses() profile.Statuses {
	return layStatuses(readCommonStatuses(), o.Common, o.Statuses)
}

// layStatuses makes one table; later rows win, and keep the name of what they
// replace unless they have one.
func layStatuses(tables ...[]Status) profile.Statuses {
	table := profile.Statuses{}
	for _, rows := range tables {
		for _, s := range rows {
			name := s.Name
			if name == "" {
				name = table[s.Status].Name
			}
			table[s.Status] = profile.StatusRule{Name: name, Class: s.Class, After: s.After, Tries: s.Tries}
		}
	}
	return table
}

// readCommonStatuses reads the table that is part of the program; a test reads
// it, too.
func readCommonStatuses() []Status {
	var file struct {
		Statuses []Status `yaml:"statuses"`
	}
	tree := map[string]any{}
	var wrong Mistakes
	if err := yaml.Unmarshal(commonStatuses, &tree); err != nil {
		panic("statuses.yaml: " + err.Error())
	}
	if decode("", tree, reflect.ValueOf(&file).Elem(), &wrong); len(wrong) > 0 {
		panic("statuses.yaml: " + wrong.Error())
	}
	return file.Statuses
}

// readOperators reads the files that operators names.
func (c *Config) readOperators(read func(name string) ([]byte, error), wrong *Mistakes) {
	// A row that is wrong for all is told once, not for each operator.
	common := c.Statuses
	if !checkStatuses(common, wrong) {
		common = nil
	}
	seen := map[string]bool{}
	for i, name := range c.OperatorFiles {
		path := fmt.Sprintf("operators[%d]", i)
		raw, err := read(name)
		if err != nil {
			wrong.addf(path, "%v (operator.sample.yaml is the manual)", err)
			continue
		}
		o, mistakes := parseOperator(raw, common)
		for _, m := range mistakes {
			*wrong = append(*wrong, name+": "+m)
		}
		if seen[o.ID] {
			wrong.addf(path, "operator %q stands twice", o.ID)
		}
		seen[o.ID] = true
		c.Operators = append(c.Operators, o)
	}
}

func parseOperator(raw []byte, common []Status) (Operator, Mistakes) {
	o := defaultOperator()
	o.Common = common
	tree := map[string]any{}
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return o, Mistakes{"not YAML: " + strings.TrimSpace(yaml.FormatError(err, false, false))}
	}
	var wrong Mistakes
	if _, old := tree["tariff"]; old {
		wrong.addf("tariff", "was moved to the file of tariffs: remove it here, and see tariffs of the configuration and tariffs.sample.yaml")
		delete(tree, "tariff")
	}
	decode("", tree, reflect.ValueOf(&o).Elem(), &wrong)
	o.check(&wrong)
	return o, wrong
}

// checkStatuses adds the mistakes of the configuration's own rows; false when
// there are any.
func checkStatuses(rows []Status, wrong *Mistakes) bool {
	before := len(*wrong)
	checkTwice(rows, wrong)
	for _, m := range layStatuses(rows).Check() {
		wrong.addf(m.Path, "%s", m.Text)
	}
	return len(*wrong) == before
}

func checkTwice(rows []Status, wrong *Mistakes) {
	twice := map[uint32]bool{}
	for i, s := range rows {
		if twice[s.Status] {
			wrong.addf(fmt.Sprintf("statuses[%d].status", i), "0x%02x stands twice", s.Status)
		}
		twice[s.Status] = true
	}
}

// check adds the operator's own mistakes of meaning.
func (o Operator) check(wrong *Mistakes) {
	checkID("id", o.ID, map[string]bool{}, wrong)
	checkTwice(o.Statuses, wrong)
	for _, m := range o.Profile().Check() {
		wrong.addf(m.Path, "%s", m.Text)
	}
	o.checkDiameter(wrong)
	for i, b := range o.Binds {
		for key, path := range map[string]string{"ca_file": b.TLS.CAFile, "cert_file": b.TLS.CertFile, "key_file": b.TLS.KeyFile} {
			if path == "" {
				continue
			}
			if _, err := os.Stat(path); err != nil {
				wrong.addf(fmt.Sprintf("binds[%d].tls.%s", i, key), "%v", err)
			}
		}
	}
}
