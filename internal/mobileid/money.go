package mobileid

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Money is an amount in tiyin; 100 tiyin are one soum. Arithmetic is integer
// only: a fraction of a tiyin does not exist.
type Money int64

// ParseMoney reads soum with at most two decimals, for example "120" or
// "120.50". Signs, spaces, exponents and a third decimal are refused.
func ParseMoney(s string) (Money, error) {
	bad := Invalid("money", "money_format", "an amount is soum with at most two decimals, for example 120.50")
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || (dotted && (frac == "" || len(frac) > 2)) || strings.ContainsAny(s, "+- ") {
		return 0, bad
	}
	soum, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || soum > math.MaxInt64/100-1 {
		return 0, bad
	}
	var tiyin int64
	if dotted {
		if tiyin, err = strconv.ParseInt((frac + "0")[:2], 10, 64); err != nil {
			return 0, bad
		}
	}
	return Money(soum*100 + tiyin), nil
}

// String prints soum with two decimals, for example "120.50".
func (m Money) String() string {
	sign, n := "", uint64(m)
	if m < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%02d", sign, n/100, n%100)
}
