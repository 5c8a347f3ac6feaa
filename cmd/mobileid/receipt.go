package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"mobileid/gateway/receipt"
)

func receiptCommand() *cobra.Command {
	verify := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt against published keys, offline, and print what it says",
		Long: `Check a receipt against published keys and print what it says as JSON.

FILE holds the receipt (the value of "receipt" in a confirmation), - reads it from
standard input. --keys names the key set: a file kept from /.well-known/jwks.json, or
that URL; with a file nobody is asked.

Exit code 0: the receipt is ours and unchanged. It is for you only if aud is your client
id, and for your document only if context_hash is its hash. Exit code 1: it is not.`,
		Args: cobra.ExactArgs(1),
	}
	keys := verify.Flags().String("keys", "", "file or URL of the published keys (JWKS)")
	verify.RunE = func(cmd *cobra.Command, args []string) error {
		if *keys == "" {
			return usageError{fmt.Errorf("give --keys FILE or --keys URL\nSee: %s --help", cmd.CommandPath())}
		}
		text, err := readReceipt(cmd, args[0])
		if err != nil {
			return err
		}
		set, err := readKeys(cmd.Context(), *keys)
		if err != nil {
			return err
		}
		claims, id, err := receipt.Verify(text, set)
		if err != nil {
			return err
		}
		out := json.NewEncoder(cmd.OutOrStdout())
		out.SetIndent("", "  ")
		fmt.Fprintf(cmd.ErrOrStderr(), "good: signed with the key %s at %s\n", id, claims.IssuedAt.Time().UTC().Format(time.RFC3339))
		return out.Encode(claims)
	}
	return family(&cobra.Command{Use: "receipt", Short: "Check the signed evidence of confirmations"}, verify)
}

// maxReceipt and maxKeys bound what is read; both are a thousand bytes or two.
const maxReceipt, maxKeys = 16 << 10, 256 << 10

func readReceipt(cmd *cobra.Command, name string) (string, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxReceipt+1))
	if err == nil && len(raw) > maxReceipt {
		err = errors.New("too long for a receipt")
	}
	return strings.TrimSpace(string(raw)), err
}

func readKeys(ctx context.Context, from string) (set jose.JSONWebKeySet, err error) {
	var raw []byte
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		raw, err = fetchKeys(ctx, from)
	} else {
		raw, err = os.ReadFile(from)
	}
	if err != nil {
		return set, fmt.Errorf("the published keys: %w", err)
	}
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
		return set, fmt.Errorf("%s is no key set (RFC 7517)", from)
	}
	return set, nil
}

func fetchKeys(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", url, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, maxKeys))
}
