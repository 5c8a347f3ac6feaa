package smsc

import (
	"fmt"
	"strconv"
	"strings"
)

// The forms of a message_id.
const (
	idHex          = "hex"           // 18c3f20a000001, as most operators' are
	idUpper        = "upper"         // the same in upper case
	idDecimal      = "decimal"       // the same number in decimal
	idZeros        = "zeros"         // hexadecimal with leading zeros
	idDecimalZeros = "decimal_zeros" // decimal with leading zeros
)

func idForms() []string { return []string{idHex, idUpper, idDecimal, idZeros, idDecimalZeros} }

// idText writes the number of a message in a form; "" is hex.
func idText(number int64, form string) string {
	switch form {
	case idUpper:
		return strings.ToUpper(strconv.FormatInt(number, 16))
	case idDecimal:
		return strconv.FormatInt(number, 10)
	case idZeros:
		return fmt.Sprintf("%020x", number)
	case idDecimalZeros:
		return fmt.Sprintf("%020d", number)
	}
	return strconv.FormatInt(number, 16)
}

// unknownID turns a number into one that no message has: the server's numbers
// have 56 bits, the highest of them the time of its start.
const unknownID = 1 << 57

// newNumber gives a message its number; numbers differ between runs.
func (s *Server) newNumber() int64 {
	return (s.epoch&0xffffffff)<<24 | s.nextID.Add(1)&0xffffff
}
