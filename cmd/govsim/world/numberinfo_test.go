package world

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

const asker = "number-info-token"

func startNumberInfo(t *testing.T, log *slog.Logger) *World {
	t.Helper()
	w, err := Start(Config{
		Clients: map[string]string{client: secret}, NumberInfoToken: asker,
		Numbers: map[string]string{"+998901234567": "ucell"}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func askNumber(t *testing.T, w *World, token, body string) (int, string) {
	t.Helper()
	res, text := do(t, "POST", w.NumberInfoURL(), "application/json", body, func(r *http.Request) {
		r.Header.Set("Authorization", token)
	})
	return res.StatusCode, strings.TrimSpace(text)
}

func TestNumberInfoKeepsItsContract(t *testing.T) {
	var log bytes.Buffer
	w := startNumberInfo(t, slog.New(slog.NewJSONHandler(&log, nil)))
	order := func(status int, body string) string {
		t.Helper()
		res, text := do(t, "POST", w.URL()+"/control/number-info", "application/json", body, nil)
		if res.StatusCode != status {
			t.Errorf("order %s: %s %s", body, res.Status, text)
		}
		return text
	}
	known, number := `{"operator":"ucell","status":"known"}`, `{"msisdn":"+998901234567"}`
	for _, c := range []struct {
		order, token, body string
		status             int
		want               string
	}{
		{"", "Bearer " + asker, number, 200, known},
		{"", "Bearer " + asker, `{"msisdn":"+998931234567"}`, 200, `{"status":"unknown"}`},
		{"", "Bearer " + asker + "x", number, 401, ""},
		{"", asker, number, 401, ""},
		{"", "", number, 401, ""},
		{"", "Bearer " + asker, `{"msisdn":"+99890123456"}`, 400, ""},
		{"", "Bearer " + asker, `msisdn`, 400, ""},
		{`{"answers":{"+998931234567":"beeline"}}`, "Bearer " + asker, `{"msisdn":"+998931234567"}`, 200, `{"operator":"beeline","status":"known"}`},
		{`{"answers":{"+998931234567":""}}`, "Bearer " + asker, `{"msisdn":"+998931234567"}`, 200, `{"status":"unknown"}`},
		{`{"fault":"error","times":1}`, "Bearer " + asker, number, 500, ""},
		{"", "Bearer " + asker, number, 200, known}, // once was once
		{`{"fault":"garbage"}`, "Bearer " + asker, number, 200, "<html>by order of the control API"},
		{`{"delay_ms":1}`, "Bearer " + asker, number, 200, known},
		{`{}`, "Bearer " + asker, number, 200, known},
	} {
		if c.order != "" {
			order(200, c.order)
		}
		status, text := askNumber(t, w, c.token, c.body)
		if status != c.status || c.want != "" && text != c.want {
			t.Errorf("after %q, %s: %d %s", c.order, c.body, status, text)
		}
	}
	for _, bad := range []string{`{"fault":"tired"}`, `{"delay_ms":-1}`, `{"delay_ms":86400000}`, `{"times":-1}`, `{"mood":1}`, `{"answers":{"12":"ucell"}}`, `[`} {
		order(400, bad)
	}
	state := order(200, `{"fault":"cut","times":1}`)
	if !strings.Contains(state, `"number_info":{"known":1,"asked":9,"fault":"cut","delay_ms":0,"times":1}`) {
		t.Errorf("state %s", state)
	}
	if strings.Contains(log.String()+state, "1234567") {
		t.Errorf("a number is in the state or the log: %s", log.String())
	}
}

func TestAQuestionThatHangsEndsWithTheAsker(t *testing.T) {
	w := startNumberInfo(t, slog.New(slog.DiscardHandler))
	do(t, "POST", w.URL()+"/control/number-info", "application/json", `{"fault":"hang"}`, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.NumberInfoURL(), strings.NewReader(`{"msisdn":"+998901234567"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+asker)
	if res, err := http.DefaultClient.Do(req); err == nil {
		t.Errorf("answered %s", res.Status)
	}
}

func TestNobodyAsksWithoutAToken(t *testing.T) {
	w, _ := start(t)
	if status, text := askNumber(t, w, "Bearer ", `{"msisdn":"+998901234567"}`); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, text)
	}
	if _, err := Start(Config{Clients: map[string]string{client: secret}, Numbers: map[string]string{"12": "ucell"}}); err == nil ||
		strings.Contains(fmt.Sprint(err), `"12"`) {
		t.Errorf("err = %v", err)
	}
}
