package reconcile

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mobileid/internal/mobileid"
)

// Dialect is what an operator means by what it writes.
type Dialect struct {
	Number func(mobileid.MSISDN) mobileid.Pseudonym
	ID     func(string) string // the normal form
	State  func(stat, err string) (state mobileid.MessageState, reason string, known bool)
}

// Options are how a file is read.
type Options struct {
	Operator string // whose file it must be
	Zone     string // of its times, when the file does not say; "": it must
	Dialect  Dialect
	Progress func(lines int) // nil; told every ProgressEvery lines
}

// ProgressEvery is after how many lines Progress is told again.
const ProgressEvery = 20_000

// File is what a file says of itself, and what was found.
type File struct {
	From, Until time.Time // the period it states; zero: none
	Count       int       // lines it states; -1: none
	Checksum    string    // it states; "": none
	Hash        [sha256.Size]byte
	Lines       int
	First, Last time.Time // submit times found
	Charges     bool      // it has the column of what was debited
}

// Complete reports whether the file states its period, count and checksum, so
// that what is not in it means something.
func (f File) Complete() bool { return !f.From.IsZero() && f.Count >= 0 && f.Checksum != "" }

// FileError is what is wrong with a file, each with its line. No value of a
// line is repeated: it may be a number.
type FileError struct {
	List []string
	More int // beyond those in List
}

const listed = 100

func (m *FileError) addf(line int, format string, args ...any) {
	if len(m.List) == listed {
		m.More++
		return
	}
	m.List = append(m.List, fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...)))
}

func (m *FileError) Error() string {
	out := "the file is wrong, nothing was applied:\n  " + strings.Join(m.List, "\n  ")
	if m.More > 0 {
		out += fmt.Sprintf("\n  and %d more", m.More)
	}
	return out
}

const (
	magic = "#mobileid-reconcile"
	// Columns is the second line of a file.
	Columns = "submitted,done,destination,operator_id,reference,status,err,parts"
	// ChargedColumn may follow them.
	ChargedColumn = "charged"

	longest   = 1024 // bytes a line
	timeForm  = "2006-01-02 15:04:05"
	maxParts  = 255 // of a concatenated text (3GPP TS 23.040, 9.2.3.24.1)
	maxID     = 64  // message_id is 65 octets with its end (SMPP 3.4, 5.2.23)
	maxStatus = 16
	maxSoum   = 1_000_000_000 // that one line may say was debited
	maxDays   = 40            // of a period: a month with room; the registry is walked over in small steps for all of it
)

// Read reads a file to its end and gives each right line to each, if that is
// not nil. An error of type *FileError says everything that is wrong with it;
// lines that were given before must be forgotten then. What it keeps does not
// grow with the file.
func Read(r io.Reader, o Options, each func(*Line) error) (File, error) {
	p := &parser{o: o, wrong: &FileError{}, whole: sha256.New(), body: sha256.New(), file: File{Count: -1}}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		text, cut, err := p.next(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return File{}, fmt.Errorf("read the file: %w", err)
		}
		if err := p.line(text, cut, each); err != nil {
			return File{}, err
		}
	}
	return p.end()
}

type parser struct {
	o           Options
	wrong       *FileError
	whole, body hash.Hash
	zone        *time.Location
	no          int
	file        File
}

// next returns a line without its end. cut: it was longer than a line may be.
func (p *parser) next(in *bufio.Reader) (text string, cut bool, err error) {
	p.no++
	var line []byte
	for {
		piece, err := in.ReadSlice('\n')
		_, _ = p.whole.Write(piece)
		if p.no > 1 {
			_, _ = p.body.Write(piece)
		}
		if room := longest + 2 - len(line); len(piece) > room {
			piece, cut = piece[:room], true
		}
		line = append(line, piece...)
		switch {
		case err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), cut, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			p.wrong.addf(p.no, "the file ends without an end of line: it may have been cut off")
			return string(line), cut, nil
		default:
			return "", false, err
		}
	}
}

func (p *parser) line(text string, cut bool, each func(*Line) error) error {
	switch {
	case cut || len(text) > longest:
		p.wrong.addf(p.no, "longer than %d bytes", longest)
	case !utf8.ValidString(text):
		p.wrong.addf(p.no, "not UTF-8")
	case p.no == 1:
		p.header(text)
	case p.no == 2:
		p.file.Charges = text == Columns+","+ChargedColumn
		if text != Columns && !p.file.Charges {
			p.wrong.addf(p.no, "want the names of the columns: %s, and %s if it says what was debited", Columns, ChargedColumn)
		}
	default:
		l, ok := p.row(text)
		if ok && each != nil {
			if err := each(&l); err != nil {
				return err
			}
		}
	}
	if p.no > 2 {
		p.file.Lines++
		if p.o.Progress != nil && p.file.Lines%ProgressEvery == 0 {
			p.o.Progress(p.file.Lines)
		}
	}
	return nil
}

func (p *parser) header(text string) {
	p.zone = time.UTC // so that the rest can be looked at
	fields := strings.Split(text, ",")
	if len(fields) < 2 || fields[0] != magic || fields[1] != "1" {
		p.wrong.addf(1, "want %s,1,... (UTF-8 without a byte order mark)", magic)
		return
	}
	said := map[string]string{}
	for _, f := range fields[2:] {
		name, value, ok := strings.Cut(f, "=")
		switch _, twice := said[name]; {
		case !ok || value == "":
			p.wrong.addf(1, "want name=value after each comma")
		case twice:
			p.wrong.addf(1, "%q stands twice", name)
		}
		said[name] = value
	}
	p.setZone(said["zone"])
	for name, value := range said {
		switch name {
		case "operator", "from", "until", "zone":
		case "count":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || strconv.Itoa(n) != value {
				p.wrong.addf(1, "count: want a number of lines")
			}
			p.file.Count = n
		case "sha256":
			if raw, err := hex.DecodeString(value); err != nil || len(raw) != sha256.Size {
				p.wrong.addf(1, "sha256: want 64 hexadecimal digits")
			}
			p.file.Checksum = strings.ToLower(value)
		default:
			p.wrong.addf(1, "%q is not known: want operator, from, until, zone, count, sha256", name)
		}
	}
	if said["operator"] != p.o.Operator {
		p.wrong.addf(1, "operator: this is not a file of %s", p.o.Operator)
	}
	if (said["from"] == "") != (said["until"] == "") {
		p.wrong.addf(1, "from and until: want both or none")
	}
	p.file.From, p.file.Until = p.time(1, "from", said["from"]), p.time(1, "until", said["until"])
	switch from, until := p.file.From, p.file.Until; {
	case from.IsZero() || until.IsZero():
	case !until.After(from):
		p.wrong.addf(1, "until: want a time after from")
	case longer(from, until):
		p.wrong.addf(1, "from and until: want a period of at most %d days: cut the file into shorter ones", maxDays)
	}
}

// longer reports whether a period is longer than one file may be of.
func longer(from, until time.Time) bool { return until.Sub(from) > maxDays*24*time.Hour }

// setZone takes the zone of the file or of the options: it is never guessed.
func (p *parser) setZone(said string) {
	name := said
	switch {
	case said == "" && p.o.Zone == "":
		p.wrong.addf(1, "zone: say it here or by --zone: the times mean nothing without")
		return
	case said == "":
		name = p.o.Zone
	case p.o.Zone != "" && p.o.Zone != said:
		p.wrong.addf(1, "zone: the file says another one than --zone")
	}
	if at, err := time.Parse("-07:00", name); err == nil {
		_, offset := at.Zone()
		p.zone = time.FixedZone(name, offset)
		return
	}
	if name == mobileid.Tashkent.String() {
		p.zone = mobileid.Tashkent
		return
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		p.wrong.addf(1, "zone: want for example Asia/Tashkent, UTC or +05:00")
		return
	}
	p.zone = zone
}

// time reads a local time. One that a change of the clock skips or repeats says
// nothing certain and is a mistake.
func (p *parser) time(no int, name, value string) time.Time {
	if value == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(timeForm, value, p.zone)
	sure := err == nil && t.Format(timeForm) == value && t.Year() >= 2000
	for _, other := range []time.Duration{-time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour} {
		sure = sure && t.Add(other).Format(timeForm) != value
	}
	if !sure {
		p.wrong.addf(no, "%s: want a time that was once in its zone, as %s", name, timeForm)
		return time.Time{}
	}
	return t.UTC()
}

func (p *parser) row(text string) (Line, bool) {
	before := len(p.wrong.List) + p.wrong.More
	f := strings.Split(text, ",")
	want := strings.Count(Columns, ",") + 1
	if p.file.Charges {
		want++
	}
	if len(f) != want {
		p.wrong.addf(p.no, "%d fields, want %d", len(f), want)
		return Line{}, false
	}
	l := Line{No: p.no, Reference: NoReference, Parts: 1, ID: f[3], Stat: f[5], Err: f[6]}
	if f[0] == "" {
		p.wrong.addf(p.no, "submitted: want a time")
	}
	l.Submitted, l.Done = p.time(p.no, "submitted", f[0]), p.time(p.no, "done", f[1])
	p.checkTimes(&l)
	number, err := mobileid.ParseMSISDN(f[2])
	if err != nil {
		p.wrong.addf(p.no, "destination: want a number, as +998901234567")
	} else {
		l.Dest, l.Masked = p.o.Dialect.Number(number), number.Masked()
	}
	if len(l.ID) > maxID || !printable(l.ID) {
		p.wrong.addf(p.no, "operator_id: want at most %d printable characters", maxID)
	}
	l.ID = p.o.Dialect.ID(l.ID)
	if f[4] != "" {
		n, err := strconv.ParseUint(f[4], 10, 16)
		if err != nil {
			p.wrong.addf(p.no, "reference: want 0 to 65535, or nothing")
		}
		l.Reference = int(n)
	}
	var known bool
	if l.State, l.Reason, known = p.o.Dialect.State(l.Stat, l.Err); !known || len(l.Stat) > maxStatus {
		p.wrong.addf(p.no, "status: not a known one; receipts.rules in the operator's file says what its own mean")
	}
	if len(l.Err) > maxStatus || !printable(l.Err) {
		p.wrong.addf(p.no, "err: want at most %d printable characters", maxStatus)
	}
	if f[7] != "" {
		n, err := strconv.Atoi(f[7])
		if err != nil || n < 1 || n > maxParts {
			p.wrong.addf(p.no, "parts: want 1 to %d, or nothing for 1", maxParts)
		}
		l.Parts = n
	}
	if p.file.Charges && f[8] != "" {
		amount, err := mobileid.ParseMoney(f[8])
		if err != nil || amount > maxSoum*100 {
			p.wrong.addf(p.no, "charged: want soum with at most two decimals, at most %d, or nothing when the file does not say", maxSoum)
		}
		l.Charged, l.Priced = amount, true
	}
	return l, len(p.wrong.List)+p.wrong.More == before
}

func (p *parser) checkTimes(l *Line) {
	if l.Submitted.IsZero() {
		return
	}
	if !l.Done.IsZero() && l.Done.Before(l.Submitted) {
		p.wrong.addf(p.no, "done: want a time not before submitted")
	}
	if !p.file.From.IsZero() && (l.Submitted.Before(p.file.From) || !l.Submitted.Before(p.file.Until)) {
		p.wrong.addf(p.no, "submitted: outside the period that the file states")
	}
	if p.file.First.IsZero() || l.Submitted.Before(p.file.First) {
		p.file.First = l.Submitted
	}
	if l.Submitted.After(p.file.Last) {
		p.file.Last = l.Submitted
	}
}

// printable is what an id may be made of on paper.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

func (p *parser) end() (File, error) {
	switch p.no {
	case 1:
		p.wrong.addf(1, "the file is empty")
	case 2:
		p.wrong.addf(2, "want the names of the columns: %s", Columns)
	}
	if p.file.Count >= 0 && p.file.Count != p.file.Lines {
		p.wrong.addf(1, "count: the file states %d lines and has %d", p.file.Count, p.file.Lines)
	}
	if p.file.Checksum != "" && p.file.Checksum != hex.EncodeToString(p.body.Sum(nil)) {
		p.wrong.addf(1, "sha256: the lines after this one have another checksum")
	}
	if p.file.From.IsZero() && longer(p.file.First, p.file.Last) {
		p.wrong.addf(1, "the file states no period, and its lines span more than %d days: cut it into shorter ones", maxDays)
	}
	if len(p.wrong.List) > 0 {
		return File{}, p.wrong
	}
	copy(p.file.Hash[:], p.whole.Sum(nil))
	return p.file, nil
}
