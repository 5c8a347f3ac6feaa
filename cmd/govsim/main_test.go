package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlagsAreUnderstoodOrRefusedByName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-file\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string {
		return map[string]string{"GOVSIM_SECRET_TAX_COMMITTEE": "from-env", "GOVSIM_NUMBER_INFO_TOKEN": "asker", "GOVSIM_SIM_SWAP_TOKEN": "asker"}[name]
	}
	tests := []struct {
		name    string
		args    []string
		clients map[string]string
		wantErr string
	}{
		{
			"secrets by file and by environment",
			[]string{"--client", "oneid=" + file, "--client", "tax-committee"},
			map[string]string{"oneid": "from-file", "tax-committee": "from-env"},
			"",
		},
		{"nobody", nil, nil, "no --client"},
		{"secret not set", []string{"--client", "oneid"}, nil, "GOVSIM_SECRET_ONEID is not set"},
		{"no such file", []string{"--client", "oneid=/nowhere"}, nil, "/nowhere"},
		{"no file of the token", []string{"--client", "tax-committee", "--number-info-token", "/nowhere"}, nil, "/nowhere"},
		{"twice", []string{"--client", "tax-committee", "--client", "tax-committee"}, nil, "given twice"},
		{"unknown flag", []string{"--port", "1"}, nil, "port"},
		{"argument", []string{"--client", "tax-committee", "now"}, nil, `"now"`},
		{"life under a second", []string{"--client", "tax-committee", "--token-life", "1ms"}, nil, "--token-life"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := parse(tt.args, getenv)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cfg.NumberInfoToken != "asker" || cfg.SIMSwapToken != "asker" {
				t.Errorf("token of number-info %q, of SIM Swap %q", cfg.NumberInfoToken, cfg.SIMSwapToken)
			}
			for id, secret := range tt.clients {
				if cfg.Clients[id] != secret {
					t.Errorf("secret of %s = %q, want %q", id, cfg.Clients[id], secret)
				}
			}
		})
	}
}

func TestHelpGoesToStdoutAndAMistakeExitsTwo(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, os.Getenv, &out, &errs); status != 0 || errs.Len() != 0 {
		t.Errorf("--help: status %d, stderr %q", status, errs.String())
	}
	for _, want := range []string{"--client", "/oauth2/token", "/control/rotate-key", "/control/outage", "/number-info/v1/operator", "/control/number-info", "--sim-swap-token", "/sim-swap/v2/check", "/control/sim-swap"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("--help does not name %s", want)
		}
	}
	if status := run(t.Context(), nil, os.Getenv, &out, &errs); status != exitUsage || errs.Len() == 0 {
		t.Errorf("no client: status %d, stderr %q", status, errs.String())
	}
}

func TestProgramEndsCleanlyWhenToldTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	getenv := func(string) string { return "secret" }
	status := run(ctx, []string{"--listen", "127.0.0.1:0", "--client", "a"}, getenv, &out, &errs)
	if status != 0 || !strings.Contains(out.String(), "http://127.0.0.1:") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out.String(), errs.String())
	}
}
