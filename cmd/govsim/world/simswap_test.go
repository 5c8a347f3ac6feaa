package world

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestSIMSwapKeepsItsContract(t *testing.T) {
	var log bytes.Buffer
	w, err := Start(Config{
		Clients: map[string]string{client: secret}, SIMSwapToken: asker, Log: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	order := func(want int, body string) string {
		t.Helper()
		res, text := do(t, "POST", w.URL()+"/control/sim-swap", "application/json", body, nil)
		if res.StatusCode != want {
			t.Fatalf("order %s: %s %s", body, res.Status, text)
		}
		return text
	}
	for _, c := range []struct {
		order, token, body string
		status             int
		want               string
	}{
		{"", asker, `{"phoneNumber":"+998901234567"}`, 200, `{"swapped":false}`},
		{`{"swapped":{"+998901234567":239}}`, asker, `{"phoneNumber":"+998901234567"}`, 200, `{"swapped":true}`},
		{"", asker, `{"phoneNumber":"+998901234567","maxAge":239}`, 200, `{"swapped":false}`},
		{`{"swapped":{"+998901234567":240}}`, asker, `{"phoneNumber":"+998901234567"}`, 200, `{"swapped":false}`},
		{`{"swapped":{"+998901234567":0}}`, asker, `{"phoneNumber":"+998901234567","maxAge":1}`, 200, `{"swapped":true}`},
		{`{"swapped":{"+998901234567":null}}`, asker, `{"phoneNumber":"+998901234567","maxAge":1}`, 200, `{"swapped":false}`},
		{"", asker, `{"phoneNumber":"+998901234567","maxAge":0}`, 400, `"code":"OUT_OF_RANGE"`},
		{"", asker, `{"phoneNumber":"+998901234567","maxAge":2401}`, 400, `"code":"OUT_OF_RANGE"`},
		{"", asker, `{"phoneNumber":"+998901234567","max":1}`, 400, `"code":"INVALID_ARGUMENT"`},
		{"", asker, `{"phoneNumber":"901234567"}`, 400, `"code":"INVALID_ARGUMENT"`},
		{"", asker, `{}`, 422, `"code":"MISSING_IDENTIFIER"`},
		{"", "another", `{"phoneNumber":"+998901234567"}`, 401, `"code":"UNAUTHENTICATED"`},
		{`{"refused":{"+998901234567":"IDENTIFIER_NOT_FOUND"}}`, asker, `{"phoneNumber":"+998901234567"}`, 404, `"code":"IDENTIFIER_NOT_FOUND"`},
		{`{"refused":{"+998901234567":"SERVICE_NOT_APPLICABLE"}}`, asker, `{"phoneNumber":"+998901234567"}`, 422, `"code":"SERVICE_NOT_APPLICABLE"`},
		{`{"refused":{"+998901234567":""},"fault":"error","times":1}`, asker, `{"phoneNumber":"+998901234567"}`, 500, ""},
		{"", asker, `{"phoneNumber":"+998901234567"}`, 200, `{"swapped":false}`},
	} {
		if c.order != "" {
			order(200, c.order)
		}
		res, text := do(t, "POST", w.SIMSwapURL()+"/check", "application/json", c.body, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+c.token)
			r.Header.Set("x-correlator", "chl_1")
		})
		if res.StatusCode != c.status || !strings.Contains(text, c.want) || res.Header.Get("x-correlator") != "chl_1" {
			t.Errorf("after %q, %s: %d %s", c.order, c.body, res.StatusCode, text)
		}
	}
	for _, bad := range []string{
		`{"fault":"tired"}`, `{"delay_ms":-1}`, `{"times":-1}`, `{"mood":1}`, `{"swapped":{"12":1}}`, `{"swapped":{"+998901234567":-1}}`,
		`{"refused":{"+998901234567":"NO"}}`, `[`,
	} {
		order(400, bad)
	}
	state := order(200, `{"swapped":{"+998901234567":1},"fault":"cut","times":1}`)
	if !strings.Contains(state, `"sim_swap":{"swapped":1,"refused":0,"asked":10,"fault":"cut","delay_ms":0,"times":1}`) {
		t.Errorf("state %s", state)
	}
	if strings.Contains(log.String()+state, "1234567") {
		t.Errorf("a number is in the state or the log: %s", log.String())
	}
}
