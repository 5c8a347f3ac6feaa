package wire

import (
	"errors"
	"fmt"
	"strings"
)

// The longest values of the fields that we fill, in bytes without the NUL
// (SMPP 3.4, 4.1.1, 4.4.1).
const (
	MaxSystemID     = 15
	MaxPassword     = 8
	MaxSystemType   = 12
	MaxServiceType  = 5
	MaxAddress      = 20
	MaxShortMessage = 254
	MaxMessageID    = 64
)

// ErrField says that a value does not fit its field; it never quotes the value.
// Written all the same it would shift everything behind it.
var ErrField = errors.New("value does not fit its field")

func misfit(field string) error { return fmt.Errorf("%w: %s", ErrField, field) }

// checkText checks a C-octet string.
func checkText(name, value string, limit int) error {
	if len(value) > limit || strings.IndexByte(value, 0) >= 0 {
		return misfit(name)
	}
	return nil
}
