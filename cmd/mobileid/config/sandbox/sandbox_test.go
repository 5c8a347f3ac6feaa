package sandbox_test

import (
	"os"
	"testing"

	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/smpp/profile"
)

func TestThePaceIsSaidOnlyWhenTheOperatorHasNamedIt(t *testing.T) {
	for _, want := range []profile.Pace{{Rate: 0, Burst: 5, Adaptive: true}, {Rate: 500, Burst: 5, Adaptive: true}} {
		dir := t.TempDir()
		if err := sandbox.WriteSecrets(dir); err != nil {
			t.Fatal(err)
		}
		file, err := sandbox.WriteConfig(dir, sandbox.Addresses{
			Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", DSN: "postgres://127.0.0.1:3/x", Kafka: []string{"127.0.0.1:4"},
			Redis: "127.0.0.1:5", SMSC: "127.0.0.1:6", Issuer: "http://127.0.0.1:7", Pace: want.Rate,
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file, os.Environ())
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Operators[0].Pace; got != want {
			t.Errorf("pace %+v, want %+v", got, want)
		}
	}
}
