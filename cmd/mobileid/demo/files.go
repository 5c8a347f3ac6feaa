package demo

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	_ "embed"

	"mobileid/internal/mobileid"
)

//go:embed demo.yaml.tmpl
var configTemplate string

// addresses is what the engines' random ports give to the configuration file.
type addresses struct {
	Dir       string
	Listen    string
	Admin     string
	Redis     string
	Kafka     []string
	SMSC      string
	Issuer    string
	DLQKey    string // public halves
	BridgeKey string
}

const (
	secretDir  = "secrets"
	configName = "mobileid.yaml"
	smscUser   = "mobileid"
	dirMode    = 0o700
	fileMode   = 0o600
)

// writeSecrets makes what is not there yet. On a kept folder the keys must
// stay: ids, pseudonyms and sealed texts of the last run depend on them.
func writeSecrets(dir string) error {
	at := filepath.Join(dir, secretDir)
	err := os.MkdirAll(at, dirMode)
	if err != nil {
		return fmt.Errorf("make the folder of secrets: %w", err)
	}
	for _, name := range []string{"id", "pseudonym", "otp", "client"} {
		err = writeOnce(filepath.Join(at, name), func() (string, error) { return randomText(32), nil })
		if err != nil {
			return err
		}
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

func writeOnce(path string, make func() (string, error)) error {
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	value, err := make()
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

func readSecret(dir, name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, secretDir, name))
	if err != nil {
		return "", fmt.Errorf("read the demo's secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// writeConfig renders the configuration and returns its path: the same file
// serves `mobileid explain`, `mobileid dlq` and check-config while the demo
// runs.
func writeConfig(dir, dsn string, a addresses) (string, error) {
	err := os.WriteFile(filepath.Join(dir, secretDir, "dsn"), []byte(dsn), fileMode)
	if err != nil {
		return "", fmt.Errorf("write the demo's secret: %w", err)
	}
	a.Dir = filepath.Join(dir, secretDir)
	for name, out := range map[string]*string{"bridge.public": &a.BridgeKey, "dlq.public": &a.DLQKey} {
		*out, err = readSecret(dir, name)
		if err != nil {
			return "", err
		}
	}
	t, err := template.New(configName).Parse(configTemplate)
	if err != nil {
		return "", fmt.Errorf("the demo's configuration: %w", err)
	}
	path := filepath.Join(dir, configName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return "", fmt.Errorf("write the demo's configuration: %w", err)
	}
	return path, errors.Join(t.Execute(f, a), f.Close())
}
