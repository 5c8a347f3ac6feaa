package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const maskSecret = "secret(hidden)"

// Secret is a value that the file only points to: "env:NAME" or "file:PATH".
// It prints masked.
type Secret struct{ value string }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether nothing was given.
func (s Secret) IsZero() bool { return s.value == "" }

// UnmarshalText follows the pointer. A file's last newline is not part of the
// secret.
func (s *Secret) UnmarshalText(text []byte) error {
	where := string(text)
	switch {
	case where == "":
		*s = Secret{}
		return nil
	case strings.HasPrefix(where, "env:"):
		name := strings.TrimPrefix(where, "env:")
		v, ok := os.LookupEnv(name)
		if !ok || v == "" {
			return fmt.Errorf("the environment variable %s is not set", name)
		}
		*s = Secret{v}
		return nil
	case strings.HasPrefix(where, "file:"):
		path := strings.TrimPrefix(where, "file:")
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the secret: %w", err)
		}
		*s = Secret{strings.TrimRight(string(raw), "\r\n")}
		if s.IsZero() {
			return fmt.Errorf("the secret file %s is empty", path)
		}
		return nil
	}
	return errors.New("a secret is given as env:NAME or file:PATH, never in the file itself")
}

// String returns the mask.
func (Secret) String() string { return maskSecret }

// Format prints the mask for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, maskSecret) }

// LogValue gives slog the mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(maskSecret) }

// MarshalText gives encoders the mask.
func (Secret) MarshalText() ([]byte, error) { return []byte(maskSecret), nil }
