// Package sandbox writes a configuration with fresh secrets, for the demo and
// the tests.
//
// Its promise: what it writes is an ordinary configuration file that
// config.Load reads, and secrets that were made once stay on a kept folder:
// the ids, pseudonyms and sealed texts of the last run depend on them.
package sandbox

import (
	"cmp"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
)

//go:embed *.yaml.tmpl
var templates embed.FS

// Addresses is where the engines are; random ports, usually.
type Addresses struct {
	Listen string // of the public API
	Admin  string
	DSN    string // of Postgres
	Redis  string
	// RedisCluster says that Redis is a cluster's node.
	RedisCluster bool
	Kafka        []string
	SMSC         string
	SystemID     string // our account there; "" means SystemID
	Issuer       string
	NumberInfo   string // URL; "" means that there is none to ask
	// Response bounds an operator's answer; zero means 5 s.
	Response time.Duration
	Window   int // zero means 10
	Pace     int // submit_sm a second that the operator has named; zero means that it has not
	Quota    int // requests a second of the client; zero means 50. Four seconds' worth at once.
}

// File is what the template is filled in with.
type file struct {
	Addresses
	Secrets           string // folder
	BridgeKey, DLQKey string // public halves
	Client, Operator  string
	Billing           string
	SourceAddr        string
	Burst             int
}

const (
	// Client is the one relying party of the file.
	Client = "portal"
	// Billing is the operator's client, which tells of balances.
	Billing = "beeline-billing"
	// Operator is its one operator.
	Operator = "beeline"
	// SystemID is our account at the operator.
	SystemID = "mobileid"

	configName   = "mobileid.yaml"
	operatorName = "operator.yaml"
	tariffsName  = "tariffs.yaml"
	secretDir    = "secrets"
	dirMode      = 0o700
	fileMode     = 0o600
)

// WriteSecrets makes what is not there yet.
func WriteSecrets(dir string) error {
	at := filepath.Join(dir, secretDir)
	err := os.MkdirAll(at, dirMode)
	if err != nil {
		return fmt.Errorf("make the folder of secrets: %w", err)
	}
	for _, name := range []string{"id", "pseudonym", "otp", "client", "number_info"} {
		err = writeOnce(filepath.Join(at, name), func() (string, error) { return randomText(32), nil })
		if err != nil {
			return err
		}
	}
	err = writeOnce(filepath.Join(at, "receipt"), receipt.NewKey)
	if err != nil {
		return err
	}
	// SMPP 3.4 (5.2.2) leaves room for eight characters of password.
	err = writeOnce(filepath.Join(at, "smpp"), func() (string, error) { return randomText(6), nil })
	if err != nil {
		return err
	}
	for _, name := range []string{"bridge", "dlq"} {
		err = writeOnce(filepath.Join(at, name), func() (string, error) {
			public, private, err := mobileid.NewSealKey()
			if err != nil {
				return "", err
			}
			return private, os.WriteFile(filepath.Join(at, name+".public"), []byte(public), fileMode)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func writeOnce(path string, fresh func() (string, error)) error {
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	value, err := fresh()
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(value), fileMode)
}

func randomText(bytes int) string {
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Secret reads one: "client" is that of the file's clients at the token issuer, "smpp"
// the account's at the operator, "number_info" ours at the number-info service.
func Secret(dir, name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, secretDir, name))
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// KeepPassword makes the account's password at the operator another one than
// WriteSecrets made up.
func KeepPassword(dir, password string) error {
	return os.WriteFile(filepath.Join(dir, secretDir, "smpp"), []byte(password), fileMode)
}

// WriteConfig writes the configuration and the files that it names into dir, beside
// the secrets, and returns the configuration's path.
func WriteConfig(dir string, a Addresses) (string, error) {
	secrets := filepath.Join(dir, secretDir)
	err := os.WriteFile(filepath.Join(secrets, "dsn"), []byte(a.DSN), fileMode)
	if err != nil {
		return "", fmt.Errorf("write a secret: %w", err)
	}
	if a.Response == 0 {
		a.Response = 5 * time.Second
	}
	if a.Window == 0 {
		a.Window = 10
	}
	if a.Quota == 0 {
		a.Quota = 50
	}
	a.SystemID = cmp.Or(a.SystemID, SystemID)
	f := file{Addresses: a, Secrets: secrets, Client: Client, Operator: Operator, Billing: Billing, SourceAddr: "MobileID", Burst: 4 * a.Quota}
	for name, out := range map[string]*string{"bridge.public": &f.BridgeKey, "dlq.public": &f.DLQKey} {
		*out, err = Secret(dir, name)
		if err != nil {
			return "", err
		}
	}
	for _, name := range []string{operatorName, tariffsName, configName} {
		if err := f.write(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, configName), nil
}

// write fills in the template that has the file's name.
func (f file) write(path string) error {
	t, err := template.ParseFS(templates, filepath.Base(path)+".tmpl")
	if err != nil {
		return fmt.Errorf("the template of the configuration: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return errors.Join(t.Execute(out, f), out.Close())
}
