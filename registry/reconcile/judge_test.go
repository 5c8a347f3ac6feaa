package reconcile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mobileid/internal/mobileid"
)

const price = mobileid.Money(120_00)

// book is a Message of one part that was written at noon, delivered and paid.
func book(n int) *Book {
	b := &Book{
		From: noon, Until: noon, Parts: 1, Tries: 1, State: mobileid.MessageDelivered, Charging: mobileid.ChargingLedger,
		Charge: mobileid.ChargePosted, Price: price, Charged: price,
	}
	binary.BigEndian.PutUint16(b.ID[7:], uint16(n)) // its reference
	b.ID[20] = byte(n)
	return b
}

// debit is a line of noon that says an amount; of says whose id it has.
func debit(no int, of *Book, amount mobileid.Money) *Debit {
	d := &Debit{Line: no, Submitted: noon, Reference: NoReference, Parts: 1, Priced: true, Charged: amount}
	if of != nil {
		d.Of, d.Part = of.ID, 1
	}
	return d
}

// differs tells differences in short, in order.
func differs(j Judged) string {
	var out []string
	for _, d := range j.Differences {
		of := "-"
		if d.Book != nil {
			of = fmt.Sprint(d.Book.ID[20])
		}
		out = append(out, fmt.Sprintf("%s of %s: %d/%d in %v", d.Kind, of, d.Ours/100, d.Theirs/100, d.Lines))
		if d.Partial {
			out[len(out)-1] += " partial"
		}
	}
	slices.Sort(out)
	if len(j.Unsure) > 0 {
		out = append(out, fmt.Sprintf("unsure %v", j.Unsure))
	}
	return strings.Join(out, "; ")
}

func TestEachDifferenceHasItsName(t *testing.T) {
	const (
		posted, unknown  = mobileid.ChargePosted, mobileid.ChargeUnknown
		voided, reversed = mobileid.ChargeVoided, mobileid.ChargeReversed
	)
	charge := func(c mobileid.ChargeState, s mobileid.MessageState) func(*Book) {
		return func(b *Book) {
			b.State, b.Charge = s, c
			if c != posted {
				b.Charged = 0
			}
		}
	}
	fails := func(d *Debit) { d.Failed = true }
	silent := func(d *Debit) { d.Priced, d.Charged = false, 0 }
	part := func(n int) func(*Debit) { return func(d *Debit) { d.Part = n } }
	stands := func(n int) func(*Debit) { return func(d *Debit) { d.Parts = n } }
	three := func(b *Book) { b.Parts = 3 }
	payer := func(b *Book) { b.Charging = mobileid.ChargingPayer }
	late := func(d *Debit) { d.Submitted = d.Submitted.Add(time.Hour) }
	echo := func(n int) func(*Debit) { return func(d *Debit) { d.Reference = n } }
	one, two := book(1), book(2)
	twin := with(book(2), func(b *Book) { b.From, b.Until = noon.Add(time.Minute), noon.Add(time.Minute) })
	dear := with(book(2), func(b *Book) { b.Price, b.Charged = 2*price, 2*price })
	type (
		bs = []*Book
		ds = []*Debit
	)
	for name, c := range map[string]struct {
		f      File
		books  bs
		debits ds
		want   string
	}{
		"they agree":                         {day, bs{one}, ds{debit(3, one, price)}, ""},
		"they agree that it is free":         {day, bs{with(book(1), charge(reversed, "undeliverable"))}, ds{debit(3, one, 0)}, ""},
		"the file does not say":              {day, bs{one}, ds{with(debit(3, one, 0), silent)}, ""},
		"more":                               {day, bs{one}, ds{debit(3, one, 150_00)}, "amount of 1: 120/150 in [3]"},
		"less":                               {day, bs{one}, ds{debit(3, one, 100_00)}, "amount of 1: 120/100 in [3]"},
		"of what is free":                    {day, bs{with(book(1), func(b *Book) { b.Price, b.Charged = 0, 0 })}, ds{debit(3, one, price)}, "amount of 1: 0/120 in [3]"},
		"of what the system pays for":        {day, bs{with(book(1), payer)}, ds{debit(3, one, price)}, "amount of 1: 0/120 in [3]"},
		"the system pays":                    {day, bs{with(book(1), payer)}, ds{debit(3, one, 0)}, ""},
		"not debited":                        {day, bs{one}, ds{debit(3, one, 0)}, "not_charged of 1: 120/0 in [3]"},
		"unknown, not debited":               {day, bs{with(book(1), charge(unknown, "unconfirmed"))}, ds{debit(3, one, 0)}, "not_charged of 1: 0/0 in [3]"},
		"unknown, debited":                   {day, bs{with(book(1), charge(unknown, "delivered"))}, ds{debit(3, one, price)}, "charged_unknown of 1: 0/120 in [3]"},
		"voided, debited":                    {day, bs{with(book(1), charge(voided, "unconfirmed"))}, ds{debit(3, one, price)}, "charged_unknown of 1: 0/120 in [3]"},
		"refused, debited":                   {day, bs{with(book(1), charge(voided, "rejected"))}, ds{debit(3, one, price)}, "charged_undelivered of 1: 0/120 in [3]"},
		"undelivered, debited":               {day, bs{with(book(1), charge(reversed, "undeliverable"))}, ds{debit(3, one, price)}, "charged_undelivered of 1: 0/120 in [3]"},
		"undelivered by the file, debited":   {day, bs{with(book(1), charge(reversed, "unconfirmed"))}, ds{with(debit(3, one, price), fails)}, "charged_undelivered of 1: 0/120 in [3]"},
		"undelivered and paid by the tariff": {day, bs{with(book(1), charge(posted, "undeliverable"))}, ds{with(debit(3, one, price), fails)}, ""},
		"one part undelivered, debited": {
			day,
			bs{with(with(book(1), three), func(b *Book) { b.Price, b.Charged = 3*price, 2*price })},
			ds{debit(3, one, price), with(debit(4, one, price), part(2)), with(with(debit(5, one, price), part(3)), fails)},
			"charged_undelivered of 1: 240/360 in [3 4 5]",
		},
		"a Message of parts":       {day, bs{with(book(1), three)}, ds{debit(3, one, price), with(debit(4, one, 0), part(2)), with(debit(5, one, 0), part(3))}, ""},
		"a part is silent":         {day, bs{with(book(1), three)}, ds{debit(3, one, 20_00), with(with(debit(4, one, 0), part(2)), silent)}, ""},
		"each part at the price":   {day, bs{with(book(1), three)}, ds{debit(3, one, price), with(debit(4, one, price), part(2)), with(debit(5, one, price), part(3))}, "amount of 1: 120/360 in [3 4 5]"},
		"one line of an id, twice": {day, bs{one}, ds{debit(3, one, price), debit(9, one, price)}, "double of 1: 120/240 in [3 9]"},
		"the second is free":       {day, bs{one}, ds{debit(3, one, price), debit(9, one, 0)}, ""},
		"a part has no line":       {day, bs{with(book(1), three)}, ds{debit(3, one, 20_00), with(debit(4, one, 20_00), part(2))}, "amount of 1: 120/40 in [3 4] partial"},
		"a part twice":             {day, bs{with(book(1), three)}, ds{debit(3, one, 60_00), debit(4, one, 60_00)}, "double of 1: 120/120 in [3 4] partial"},
		"more parts than there are": {
			day,
			bs{with(book(1), three)},
			ds{with(with(debit(3, one, price), stands(3)), part(0)), with(debit(4, one, price), part(2))},
			"double of 1: 120/240 in [3 4]",
		},
		"sent twice, debited twice": {day, bs{with(book(1), func(b *Book) { b.Tries = 2 })}, ds{debit(3, one, price), debit(4, nil, price)}, "double of 1: 120/240 in [3 4]"},
		"twice and not delivered":   {day, bs{with(book(1), charge(voided, "rejected"))}, ds{debit(3, one, price), debit(4, one, price)}, "double of 1: 0/240 in [3 4]"},
		"nothing we know":           {day, bs{one}, ds{debit(3, one, price), with(debit(4, nil, price), late)}, "stranger of -: 0/120 in [4]"},
		"nothing we know, free":     {day, nil, ds{debit(4, nil, 0)}, ""},
		"no line":                   {day, bs{one, two}, ds{debit(3, one, price)}, "missing of 2: 120/0 in []"},
		"no line, not delivered":    {day, bs{with(book(1), charge(posted, "unconfirmed"))}, nil, ""},
		"no line, an incomplete":    {File{From: day.From, Until: day.Until, Count: -1}, bs{one}, nil, ""},
		"no line, at the edge":      {File{From: noon.Add(-time.Minute), Until: day.Until, Count: 1, Checksum: "said"}, bs{one}, nil, ""},
		"no line, the system pays":  {day, bs{with(book(1), payer)}, nil, ""},
		"still under way":           {day, bs{with(book(1), charge(mobileid.ChargePending, "in_doubt"))}, ds{debit(3, nil, price)}, ""},
		"by number and time":        {day, bs{one}, ds{debit(3, nil, 100_00)}, "amount of 1: 120/100 in [3]"},
		"the one without a line":    {day, bs{one, two}, ds{debit(3, one, price), debit(4, nil, 100_00)}, "amount of 2: 120/100 in [4]"},
		"by reference":              {day, bs{one, two}, ds{with(debit(3, nil, 100_00), echo(2)), with(debit(4, nil, price), echo(1))}, "amount of 2: 120/100 in [3]"},
		"a reference of nobody":     {day, bs{one}, ds{debit(3, one, price), with(debit(4, nil, price), echo(9))}, "stranger of -: 0/120 in [4]"},
		"two that are alike":        {day, bs{one, twin}, ds{debit(3, nil, price), debit(4, nil, price)}, ""},
		"one too many of two":       {day, bs{one, twin}, ds{debit(3, nil, price), debit(4, nil, price), debit(5, nil, price)}, "double of 1: 120/240 in [3 5]"},
		"two that are not alike":    {day, bs{one, dear}, ds{debit(3, nil, price), debit(4, nil, 2*price)}, "unsure [3 4]"},
	} {
		if c.f.Charges = true; differs(Judge(c.f, c.books, c.debits)) != c.want {
			t.Errorf("%s: %q, want %q", name, differs(Judge(c.f, c.books, c.debits)), c.want)
		}
	}
}

// plant makes the true lines of a Message, and one mistake of the operator if the
// draw says so, which is told as Judge should.
func plant(t *rapid.T, n int, b *Book, next func() int) (lines []*Debit, want string) {
	known := rapid.Bool().Draw(t, "id known")
	whole := rapid.Bool().Draw(t, "one line for all")
	left := b.Ours()
	for p := 1; p <= b.Parts; p++ {
		d := &Debit{Line: next(), Submitted: b.From, Reference: NoReference, Parts: 1, Priced: true, Failed: failed(b.State)}
		if known {
			d.Of, d.Part = b.ID, p
		} else if rapid.Bool().Draw(t, "echo") {
			d.Reference = Reference(b.ID)
		}
		d.Charged = left / mobileid.Money(b.Parts-p+1)
		left -= d.Charged
		if whole {
			d.Parts, d.Charged = b.Parts, b.Ours()
		}
		lines = append(lines, d)
		if whole {
			break
		}
	}
	var all []int
	for _, d := range lines {
		all = append(all, d.Line)
	}
	more := mobileid.Money(rapid.IntRange(1, 300).Draw(t, "more")) * 100
	over := KindAmount
	switch {
	case b.Charging == mobileid.ChargingPayer && !failed(b.State), b.Charge == mobileid.ChargePosted:
	case failed(b.State):
		over = KindChargedUndelivered
	default:
		over = KindChargedUnknown
	}
	tell := func(kind Kind, theirs mobileid.Money, nos ...int) {
		want = fmt.Sprintf("%s of %d: %d/%d in %v", kind, n, b.Ours()/100, theirs/100, nos)
	}
	switch rapid.SampledFrom([]string{"none", "none", "over", "twice", "nothing", "less", "absent"}).Draw(t, "mistake") {
	case "over":
		for _, d := range lines {
			d.Charged += more
		}
		tell(over, b.Ours()+more*mobileid.Money(len(lines)), all...)
	case "twice":
		again := *lines[len(lines)-1]
		again.Line, again.Charged = next(), again.Charged+more
		lines[len(lines)-1].Charged += more
		theirs, nos := mobileid.Money(0), []int{again.Line}
		for _, d := range lines {
			if theirs += d.Charged; d.Charged > 0 {
				nos = append(nos, d.Line)
			}
		}
		slices.Sort(nos)
		if known && !whole || len(nos) > b.Parts || whole {
			lines = append(lines, &again)
			tell(KindDouble, theirs+again.Charged, nos...)
		} else {
			lines[len(lines)-1].Charged -= more
		}
	case "nothing":
		for _, d := range lines {
			d.Charged = 0
		}
		if b.Ours() > 0 {
			tell(KindNotCharged, 0, all...)
		}
	case "less":
		if d := lines[len(lines)-1]; d.Charged > 1_00 && len(lines) == 1 {
			d.Charged = 1_00
			tell(KindAmount, 1_00, d.Line)
		}
	case "absent":
		lines = nil
		if b.State == mobileid.MessageDelivered && b.Ours() > 0 {
			want = fmt.Sprintf("missing of %d: %d/0 in []", n, b.Ours()/100)
		}
	}
	return lines, want
}

// A file that is drawn from our books differs in nothing but in what was planted.
func TestExactlyThePlantedDifferencesAreFound(t *testing.T) {
	f := day
	f.Charges, f.From, f.Until = true, noon.Add(-24*time.Hour), noon.Add(48*time.Hour)
	ends := []mobileid.MessageState{mobileid.MessageDelivered, mobileid.MessageRejected, mobileid.MessageUndeliverable, mobileid.MessageUnconfirmed}
	found := map[Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		var books []*Book
		var debits []*Debit
		var want []string
		no := 2
		next := func() int { no++; return no }
		for n := 1; n <= rapid.IntRange(0, 6).Draw(t, "messages"); n++ {
			b := with(book(n), func(b *Book) { b.From = noon.Add(time.Duration(n) * time.Hour) })
			b.Until = b.From.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "minutes")) * time.Minute)
			b.Parts, b.State = rapid.IntRange(1, 3).Draw(t, "parts"), rapid.SampledFrom(ends).Draw(t, "state")
			if rapid.IntRange(0, 5).Draw(t, "payer") == 0 {
				b.Charging = mobileid.ChargingPayer
			}
			if failed(b.State) {
				b.Charge, b.Charged = mobileid.ChargeReversed, 0
			} else if b.State == mobileid.MessageUnconfirmed {
				b.Charge, b.Charged = mobileid.ChargeVoided, 0
			}
			lines, planted := plant(t, n, b, next)
			if planted != "" {
				want = append(want, planted)
				found[Kind(strings.Fields(planted)[0])]++
			}
			books, debits = append(books, b), append(debits, lines...)
		}
		for range rapid.IntRange(0, 2).Draw(t, "strangers") {
			d := debit(next(), nil, price)
			d.Submitted = noon.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "at"))*time.Hour + 30*time.Minute)
			debits = append(debits, d)
			want = append(want, fmt.Sprintf("stranger of -: 0/120 in [%d]", d.Line))
			found[KindStranger]++
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		random.Shuffle(len(debits), func(i, j int) { debits[i], debits[j] = debits[j], debits[i] })
		random.Shuffle(len(books), func(i, j int) { books[i], books[j] = books[j], books[i] })
		slices.Sort(want)
		if have := differs(Judge(f, books, debits)); have != strings.Join(want, "; ") {
			t.Fatalf("%s\nwant\n%s", have, strings.Join(want, "; "))
		}
	})
	for _, k := range Kinds() {
		if found[k] == 0 {
			t.Errorf("%s was never planted", k)
		}
	}
}

// What a rule does never costs more than the price, and what it gives up is never
// the subscriber's.
func TestWhatARuleSettlesAndWhatNobodyMay(t *testing.T) {
	const d, dia = mobileid.ChargingLedger, mobileid.ChargingDiameter
	for name, c := range map[string]struct {
		terms   Terms
		refunds bool
		rule    Way
		due     string // of the rule
		may     string // accept, operator_owes, write_off
	}{
		"not debited":             {Terms{KindNotCharged, d, "posted", price, price, 0, false, false}, false, Accept, "0.00", "a-w"},
		"unknown and not debited": {Terms{KindNotCharged, dia, "unknown", price, 0, 0, false, false}, false, Accept, "0.00", "a-w"},
		"less":                    {Terms{KindAmount, d, "posted", price, price, 100_00, false, false}, false, Accept, "100.00", "a-w"},
		"less, of some parts":     {Terms{KindAmount, d, "posted", price, price, 100_00, false, true}, false, "", "", "a-w"},
		"none, of some parts":     {Terms{KindNotCharged, d, "posted", price, price, 0, false, true}, false, "", "", "a-w"},
		"twice, the payer's":      {Terms{KindDouble, mobileid.ChargingPayer, "unknown", price, 0, 2 * price, true, false}, true, "", "", "-ow"},
		"more":                    {Terms{KindAmount, d, "posted", price, price, price + 1, false, false}, false, "", "", "aow"},
		"for the payer":           {Terms{KindAmount, mobileid.ChargingPayer, "posted", price, 0, price, false, false}, false, "", "", "-ow"},
		"unknown, the price":      {Terms{KindChargedUnknown, dia, "unknown", price, 0, price, false, false}, false, Accept, "120.00", "aow"},
		"unknown, above it":       {Terms{KindChargedUnknown, dia, "unknown", price, 0, price + 1, false, false}, false, "", "", "aow"},
		"voided, debited":         {Terms{KindChargedUnknown, d, "voided", price, 0, price, false, false}, false, "", "", "aow"},
		"undelivered":             {Terms{KindChargedUndelivered, d, "reversed", price, 0, price, false, false}, true, "", "", "-ow"},
		"missing":                 {Terms{KindMissing, d, "posted", price, price, 0, false, false}, false, "", "", "a-w"},
		"stranger":                {Terms{Kind: KindStranger, Theirs: price}, true, "", "", "-ow"},
		"double":                  {Terms{KindDouble, d, "posted", price, price, 2 * price, false, false}, true, "", "", "-ow"},
		"sent twice":              {Terms{KindDouble, mobileid.ChargingOperator, "posted", price, price, 2 * price, true, false}, false, "", "", "-ow"},
		"sent twice, he refunds what he does not debit": {Terms{KindDouble, mobileid.ChargingLedger, "posted", price, price, 2 * price, true, false}, true, "", "", "-ow"},
		"sent twice, he refunds":                        {Terms{KindDouble, mobileid.ChargingOperator, "posted", price, price, 2 * price, true, false}, true, OperatorOwes, "", "-ow"},
		"sent twice, unknown":                           {Terms{KindDouble, mobileid.ChargingOperator, "unknown", price, 0, 2 * price, true, false}, true, OperatorOwes, "120.00", "-ow"},
	} {
		may := ""
		for _, x := range []struct {
			way  Way
			mark string
		}{{Accept, "a"}, {OperatorOwes, "o"}, {WriteOff, "w"}} {
			if !c.terms.May(x.way) {
				x.mark = "-"
			}
			may += x.mark
		}
		rule, due := c.terms.ByRule(c.refunds), ""
		if amount, moves := c.terms.Due(rule); moves {
			due = amount.String()
		}
		if rule != c.rule || due != c.due || may != c.may {
			t.Errorf("%s: %q, due %q, may %s; want %q, %q, %s", name, rule, due, may, c.rule, c.due, c.may)
		}
	}
}
