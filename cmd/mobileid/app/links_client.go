package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mobileid/smpp"
)

// ProcessLink is a link and the process that keeps it.
type ProcessLink struct {
	Process string `json:"process"` // its admin address
	smpp.LinkView
}

// askAdminLimit bounds a question to a process.
const askAdminLimit = 10 * time.Second

// Links asks processes for their links.
func Links(ctx context.Context, admins []string) ([]ProcessLink, error) {
	ctx, cancel := context.WithTimeout(ctx, askAdminLimit)
	defer cancel()
	var all []ProcessLink
	for _, admin := range admins {
		res, err := askAdmin(ctx, http.MethodGet, admin, "/links", http.NoBody)
		if err != nil {
			return nil, err
		}
		var body linksBody
		err = json.NewDecoder(res.Body).Decode(&body)
		_ = res.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("the answer of %s: %w", admin, err)
		}
		for _, l := range body.Links {
			all = append(all, ProcessLink{Process: admin, LinkView: l})
		}
	}
	return all, nil
}

// OrderLink gives each process an order of LinkOrders for one of its links.
func OrderLink(ctx context.Context, admins []string, operator, bind, order string) error {
	ctx, cancel := context.WithTimeout(ctx, askAdminLimit)
	defer cancel()
	for _, admin := range admins {
		res, err := askAdmin(ctx, http.MethodPost, admin,
			"/links/"+url.PathEscape(operator)+"/"+url.PathEscape(bind+":"+order), http.NoBody)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
	}
	return nil
}

// askAdmin asks a process on its admin address. An answer that is no success
// is an error with its text.
func askAdmin(ctx context.Context, method, admin, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+admin+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the process (is http.admin of the file its address? else say --admin): %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	return nil, fmt.Errorf("%s answers %d: %s", admin, res.StatusCode, strings.TrimSpace(string(text)))
}
