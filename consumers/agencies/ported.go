package agencies

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mobileid/internal/mobileid"
)

// PortedHeader is the first line of a file of ported numbers.
const PortedHeader = "source,seq,number,operator,from"

// maxPortedLine bounds a line, its end included.
const maxPortedLine = 512 // bytes

var (
	wordForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	seqForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$`)
)

func isWord(s string) bool { return wordForm.MatchString(s) && !mobileid.HoldsPersonal(s) }

// ReadPorted reads a file of ported numbers: UTF-8, no quotes, PortedHeader and
// then a line for each move, for example
//
//	source,seq,number,operator,from
//	mnp,2026-000017,+998901234567,ucell,2026-11-23T10:20:00+05:00
//	mnp,2026-000018,+998931234567,beeline,2026-11-24
//
// operator is one of operators; from is a time with its zone, or a date, which
// begins in Asia/Tashkent. All mistakes come back together, each with its line,
// and none repeats a number.
func ReadPorted(file io.Reader, operators []string, keys mobileid.PseudonymKey) ([]mobileid.Ported, []error) {
	r := portedReader{
		operators: operators, keys: keys,
		told: map[[2]string]int{}, moved: map[movedAt]movedTo{},
	}
	lines := bufio.NewReaderSize(file, maxPortedLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		r.line++
		if long := errors.Is(err, bufio.ErrBufferFull); long {
			r.wrongf("longer than %d bytes", maxPortedLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
		} else if err == nil || errors.Is(err, io.EOF) {
			r.read(strings.TrimSuffix(string(bytes.TrimSuffix(line, []byte("\n"))), "\r"))
		}
		if err != nil && !errors.Is(err, io.EOF) {
			r.wrongf("cannot be read: %w", err)
			break
		}
	}
	if r.line == 0 {
		r.line = 1
		r.wrongf("want %q: the file is empty", PortedHeader)
	}
	if len(r.mistakes) > 0 {
		return nil, r.mistakes
	}
	return r.moves, nil
}

type portedReader struct {
	operators []string
	keys      mobileid.PseudonymKey

	line     int
	moves    []mobileid.Ported
	mistakes []error
	told     map[[2]string]int // source and seq: their line
	moved    map[movedAt]movedTo
}

type movedAt struct {
	number mobileid.Pseudonym
	micros int64
}

type movedTo struct {
	operator string
	line     int
}

func (r *portedReader) wrongf(format string, args ...any) {
	r.mistakes = append(r.mistakes, fmt.Errorf("line %d: "+format, append([]any{r.line}, args...)...))
}

// read reads one line without its end.
func (r *portedReader) read(line string) {
	if r.line == 1 {
		if line != PortedHeader {
			r.wrongf("want exactly %q", PortedHeader)
		}
		return
	}
	fields := strings.Split(line, ",")
	if !utf8.ValidString(line) || strings.ContainsRune(line, '"') || len(fields) != strings.Count(PortedHeader, ",")+1 {
		r.wrongf("want %d fields with commas between them, in UTF-8 and without quotes", strings.Count(PortedHeader, ",")+1)
		return
	}
	before := len(r.mistakes)
	move := mobileid.Ported{Source: fields[0], Seq: fields[1], Operator: fields[3]}
	if !isWord(move.Source) {
		r.wrongf("source: want a word of a-z, 0-9, _ and -")
	}
	if !seqForm.MatchString(move.Seq) || mobileid.HoldsPersonal(move.Seq) {
		r.wrongf("seq: want 1 to 64 letters, digits and . _ : / -, with no number or PINFL in it")
	}
	number, err := mobileid.ParseMSISDN(fields[2])
	if err != nil || number.Reveal() != fields[2] {
		r.wrongf("number: want +998 and nine digits, without spaces")
	} else {
		move.Number = r.keys.Number(number)
	}
	if !slices.Contains(r.operators, move.Operator) {
		r.wrongf("operator: operators has no file of it%s", named(move.Operator))
	}
	if move.From, err = portedFrom(fields[4]); err != nil {
		r.wrongf("from: want a time with its zone, 2026-11-23T10:20:00+05:00, or a date, 2026-11-23")
	}
	if len(r.mistakes) > before {
		return
	}
	r.once(move)
	r.moves = append(r.moves, move)
}

// once finds what contradicts a line before.
func (r *portedReader) once(move mobileid.Ported) {
	name := [2]string{move.Source, move.Seq}
	if first, twice := r.told[name]; twice {
		r.wrongf("source and seq stand in line %d already", first)
		return
	}
	r.told[name] = r.line
	at := movedAt{move.Number, move.From.UnixMicro()}
	if other, twice := r.moved[at]; twice && other.operator != move.Operator {
		r.wrongf("line %d moves the same number at the same time to another operator", other.line)
		return
	}
	r.moved[at] = movedTo{move.Operator, r.line}
}

func portedFrom(s string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		at, err = time.ParseInLocation(time.DateOnly, s, mobileid.Tashkent)
	}
	if err == nil && (at.Year() < 2000 || at.Year() > 2100) {
		err = errors.New("not of this century")
	}
	return at.UTC().Truncate(time.Microsecond), err
}
