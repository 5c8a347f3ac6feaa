package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// tariffFile is the file of tariffs. tariffs.sample.yaml is its manual.
type tariffFile struct {
	Author  string      `yaml:"author"`
	Act     string      `yaml:"act"` // of the rows that name none
	Tariffs []tariffRow `yaml:"tariffs"`
}

type tariffRow struct {
	Operator string  `yaml:"operator"`
	Kind     string  `yaml:"kind"`
	Price    string  `yaml:"price"` // soum, for example 120.50
	Unit     string  `yaml:"unit"`
	Refund   yesOrNo `yaml:"refund_undelivered"`
	From     string  `yaml:"from"`  // YYYY-MM-DD, Asia/Tashkent
	Until    string  `yaml:"until"` // exclusive; empty = not said
	Act      string  `yaml:"act"`
}

// yesOrNo is a truth that is yes when it is not said.
type yesOrNo struct{ no bool }

// UnmarshalText reads true or false.
func (y *yesOrNo) UnmarshalText(text []byte) error {
	if t := string(text); t != "true" && t != "false" {
		return errors.New("want true or false")
	}
	y.no = string(text) == "false"
	return nil
}

// ReadTariffs reads a file of tariffs, of those operators and kinds of texts. It gives all
// mistakes, each with its path, or the tariffs in the order of the file.
func ReadTariffs(raw []byte, operators, kinds []string) ([]ledger.Tariff, Mistakes) {
	tree := map[string]any{}
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, Mistakes{"not YAML: " + strings.TrimSpace(yaml.FormatError(err, false, false))}
	}
	var file tariffFile
	var wrong Mistakes
	decode("", tree, reflect.ValueOf(&file).Elem(), &wrong)
	if len(file.Tariffs) == 0 && len(wrong) == 0 {
		wrong.addf("tariffs", "at least one row (tariffs.sample.yaml is the manual)")
	}
	r := tariffReader{file: file, operators: operators, kinds: kinds, wrong: wrong}
	tariffs := make([]ledger.Tariff, len(file.Tariffs))
	for i := range file.Tariffs {
		tariffs[i] = r.read(i)
	}
	for _, m := range ledger.CheckTariffs(tariffs) {
		r.add(m)
	}
	if len(r.wrong) > 0 {
		return nil, r.wrong
	}
	return tariffs, nil
}

type tariffReader struct {
	file      tariffFile
	operators []string
	kinds     []string
	wrong     Mistakes
}

// add adds a mistake, unless one of its place, which made it, is there already.
// What stands once for all rows is told once.
func (r *tariffReader) add(m ledger.Mistake) {
	path := fmt.Sprintf("tariffs[%d].%s", m.Row, m.Field)
	switch {
	case m.Field == "author":
		path = m.Field
	case m.Field == "act" && r.file.Tariffs[m.Row].Act == "" && r.file.Act != "":
		path = m.Field
	}
	if !slices.ContainsFunc(r.wrong, func(w string) bool { return strings.HasPrefix(w, path+": ") }) {
		r.wrong.addf(path, "%s (%s)", m.Text, m.Code)
	}
}

func (r *tariffReader) read(i int) ledger.Tariff {
	row := r.file.Tariffs[i]
	t := ledger.Tariff{
		Operator: row.Operator, Kind: row.Kind, Unit: ledger.Unit(row.Unit), RefundUndelivered: !row.Refund.no,
		Author: r.file.Author, Act: row.Act,
	}
	if row.Unit == "" {
		t.Unit = ledger.UnitMessage
	}
	if row.Act == "" {
		t.Act = r.file.Act
	}
	if !slices.Contains(r.operators, row.Operator) {
		r.add(ledger.Mistake{Row: i, Field: "operator", Code: "tariff_operator", Text: fmt.Sprintf("no operator %q in operators", row.Operator)})
	}
	if row.Kind != "" && !slices.Contains(r.kinds, row.Kind) {
		r.add(ledger.Mistake{
			Row: i, Field: "kind", Code: "tariff_kind",
			Text: fmt.Sprintf(`no text is of kind %q; known: %s, and "" for the others`, row.Kind, strings.Join(r.kinds, ", ")),
		})
	}
	var err error
	if t.Price, err = mobileid.ParseMoney(row.Price); err != nil {
		r.add(ledger.Mistake{
			Row: i, Field: "price", Code: "tariff_price",
			Text: `want soum in quotes, not negative, with at most two decimals, for example "120.50"`,
		})
	}
	t.From = r.date(i, "from", row.From)
	if row.Until != "" {
		t.Until = r.date(i, "until", row.Until)
	}
	return t
}

// date reads a legal date; zero when it is none.
func (r *tariffReader) date(i int, field, text string) time.Time {
	at, err := time.ParseInLocation(time.DateOnly, text, mobileid.Tashkent)
	if err != nil {
		r.add(ledger.Mistake{Row: i, Field: field, Code: "tariff_date", Text: "want a date, YYYY-MM-DD"})
		return time.Time{}
	}
	return at
}

// readTariffs reads the file that tariffs names; operators have been read.
func (c *Config) readTariffs(read func(name string) ([]byte, error), now time.Time, wrong *Mistakes) {
	if c.TariffFile == "" {
		wrong.addf("tariffs", "missing: name the file of tariffs (tariffs.sample.yaml is the manual)")
		return
	}
	raw, err := read(c.TariffFile)
	if err != nil {
		wrong.addf("tariffs", "%v (tariffs.sample.yaml is the manual)", err)
		return
	}
	var mistakes Mistakes
	c.Tariffs, mistakes = ReadTariffs(raw, c.OperatorIDs(), c.Texts.Kinds())
	for _, m := range mistakes {
		*wrong = append(*wrong, c.TariffFile+": "+m)
	}
	if len(mistakes) == 0 {
		c.checkPriced(now, wrong)
	}
}

// checkPriced adds each operator in use whose Messages would cost nothing.
func (c *Config) checkPriced(now time.Time, wrong *Mistakes) {
	chains := ledger.Chains(c.Tariffs)
	for _, o := range c.Operators {
		if !o.Enabled {
			continue
		}
		if _, priced := ledger.InForce(chains, o.ID, "", now); !priced {
			wrong.addf("tariffs", `operator %q has no price in force: %s needs a row of kind "" with a from that has begun, or enabled: false in the operator's file`,
				o.ID, c.TariffFile)
		}
	}
}
