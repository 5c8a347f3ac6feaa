package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	"mobileid/cmd/mobileid/demo/page"
)

// tourist is the state between steps.
type tourist struct {
	url, token string
	client     *http.Client
	keys       int

	key, body string // of the last request for a code
	id        string
	code      string
	verifyKey string
	confirmed string // id of the challenge that was confirmed
}

// call makes one request and reads the JSON answer into out.
func (t *tourist) call(ctx context.Context, method, path, key, body string, want int, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, t.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != want {
		return &refusal{method, path, res.StatusCode, want, raw}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// refusal is an answer with another status than the tour wants.
type refusal struct {
	method, path string
	status, want int
	body         []byte
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s %s: status %d, want %d: %s", r.method, r.path, r.status, r.want, r.body)
}

func (t *tourist) newKey() string {
	t.keys++
	return fmt.Sprintf("tour-%d-%d", time.Now().UnixNano(), t.keys)
}

func (t *tourist) getToken(ctx context.Context) error {
	var got struct {
		Token string `json:"access_token"`
	}
	err := t.call(ctx, http.MethodGet, "/demo/token", "", "", http.StatusOK, &got)
	if err == nil && got.Token == "" {
		err = errors.New("no access_token in the answer")
	}
	t.token = got.Token
	return err
}

func (t *tourist) ask(ctx context.Context, pinfl, purpose string) error {
	t.key = t.newKey()
	t.body = fmt.Sprintf(`{"pinfl":%q,"purpose":%q,"locale":"en"}`, pinfl, purpose)
	var got accepted
	err := t.call(ctx, http.MethodPost, "/v1/challenges", t.key, t.body, http.StatusAccepted, &got)
	t.id = got.ID
	return err
}

type accepted struct {
	ID string `json:"id"`
}

var codeInText = regexp.MustCompile(`\b\d{6}\b`)

// readCode reads the handset's feed, as a person reads the screen.
func (t *tourist) readCode(ctx context.Context) error {
	return t.until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		t.code, err = t.codeOf(ctx, t.id)
		return t.code != "", err
	})
}

// codeOf returns the code in what a challenge put on the handset so far, "" if
// there is none.
func (t *tourist) codeOf(ctx context.Context, id string) (string, error) {
	var got struct {
		Messages []struct {
			Text string `json:"text"`
		} `json:"messages"`
	}
	err := t.call(ctx, http.MethodGet, "/demo/messages?id="+id, "", "", http.StatusOK, &got)
	if err != nil || len(got.Messages) == 0 {
		return "", err
	}
	return codeInText.FindString(got.Messages[len(got.Messages)-1].Text), nil
}

// until repeats a look every 20 ms: a handset has no long poll.
func (t *tourist) until(ctx context.Context, look func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		ok, err := look(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("nothing came in 15 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type challenge struct {
	State    string `json:"state"`
	Version  int64  `json:"version"`
	Terminal bool   `json:"terminal"`
	Message  struct {
		State string `json:"state"`
	} `json:"message"`
	Sends   int       `json:"sends"`
	RetryAt time.Time `json:"retry_at"`
}

// follow long-polls a challenge until the state is one that it is told to
// wait for.
func (t *tourist) follow(ctx context.Context, is func(challenge) bool) (challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	after := int64(-1)
	for {
		path := fmt.Sprintf("/v1/challenges/%s?timeoutMs=10000", t.id)
		if after >= 0 {
			path += fmt.Sprintf("&after=%d", after)
		}
		var got challenge
		err := t.call(ctx, http.MethodGet, path, "", "", http.StatusOK, &got)
		if err != nil {
			return got, err
		}
		if is(got) {
			return got, nil
		}
		if got.Terminal {
			return got, fmt.Errorf("it has ended: %s", got.State)
		}
		after = got.Version
	}
}

func (t *tourist) awaitDelivery(ctx context.Context) error {
	_, err := t.follow(ctx, func(c challenge) bool { return c.Message.State == "delivered" })
	return err
}

func (t *tourist) wrongCode(ctx context.Context) error {
	wrong := "000000"
	if t.code == wrong {
		wrong = "000001"
	}
	return t.problem(ctx, "/v1/challenges/"+t.id+"/verify", t.newKey(),
		fmt.Sprintf(`{"code":%q}`, wrong), http.StatusBadRequest, "code_wrong", "")
}

func (t *tourist) verify(ctx context.Context) error {
	if t.verifyKey == "" {
		t.verifyKey = t.newKey()
	}
	var got challenge
	err := t.call(ctx, http.MethodPost, "/v1/challenges/"+t.id+"/verify", t.verifyKey,
		fmt.Sprintf(`{"code":%q}`, t.code), http.StatusOK, &got)
	if err == nil && got.State != "confirmed" {
		err = fmt.Errorf("state %q", got.State)
	}
	t.confirmed = t.id
	return err
}

func (t *tourist) usedCode(ctx context.Context) error {
	return t.problem(ctx, "/v1/challenges/"+t.id+"/verify", t.newKey(),
		fmt.Sprintf(`{"code":%q}`, t.code), http.StatusConflict, "code_used", "")
}

func (t *tourist) sameKey(ctx context.Context) error {
	var got accepted
	err := t.call(ctx, http.MethodPost, "/v1/challenges", t.key, t.body, http.StatusAccepted, &got)
	if err == nil && got.ID != t.id {
		err = errors.New("another id")
	}
	return err
}

func (t *tourist) otherBody(ctx context.Context) error {
	other := bytes.Replace([]byte(t.body), []byte(`"en"`), []byte(`"ru"`), 1)
	return t.problem(ctx, "/v1/challenges", t.key, string(other),
		http.StatusUnprocessableEntity, "idempotency_key_reused", "")
}

func (t *tourist) wrongPINFL(ctx context.Context) error {
	return t.problem(ctx, "/v1/challenges", t.newKey(),
		`{"pinfl":"31210632040245","purpose":"sign_in"}`, http.StatusBadRequest, "pinfl_check_digit", "pinfl")
}

// problem expects an RFC 9457 answer.
func (t *tourist) problem(ctx context.Context, path, key, body string, status int, code, field string) error {
	var got struct {
		Code  string `json:"code"`
		Field string `json:"field"`
	}
	err := t.call(ctx, http.MethodPost, path, key, body, status, &got)
	if err == nil && (got.Code != code || (field != "" && got.Field != field)) {
		err = fmt.Errorf("code %q field %q, want %q %q", got.Code, got.Field, code, field)
	}
	return err
}

// tell asks for a notice and returns the id of its Message.
func (t *tourist) tell(ctx context.Context, pinfl string) (string, error) {
	body := fmt.Sprintf(`{"pinfl":%q,"text_id":%q,"slots":{"system":%q,"at":%q},"locale":"en"}`,
		pinfl, noticeText, noticeSystem, time.Now().UTC().Format(time.RFC3339))
	var got accepted
	err := t.call(ctx, http.MethodPost, "/v1/notifications", t.newKey(), body, http.StatusAccepted, &got)
	return got.ID, err
}

func (t *tourist) notice(ctx context.Context, pinfl string) error {
	id, err := t.tell(ctx, pinfl)
	if err != nil {
		return err
	}
	return t.until(ctx, func(ctx context.Context) (bool, error) {
		var m struct {
			State string `json:"state"`
		}
		err := t.call(ctx, http.MethodGet, "/v1/messages/"+id+"?timeoutMs=5000", "", "", http.StatusOK, &m)
		return m.State == "delivered", err
	})
}

func (t *tourist) endsAs(ctx context.Context, pinfl, state string) error {
	err := t.ask(ctx, pinfl, "verify")
	if err != nil {
		return err
	}
	got, err := t.follow(ctx, func(c challenge) bool {
		return c.State != "accepted" && c.State != "pending"
	})
	if err == nil && got.State != state {
		err = fmt.Errorf("state %q, want %q", got.State, state)
	}
	return err
}

func (t *tourist) spend(ctx context.Context, pinfl string) error {
	for _, purpose := range []string{"sign_in", "confirm_application"} {
		if err := t.ask(ctx, pinfl, purpose); err != nil {
			return err
		}
		if err := t.awaitDelivery(ctx); err != nil {
			return err
		}
	}
	return nil
}

// paidAgain asks for codes until one comes: what the operator has told goes its own
// way.
func (t *tourist) paidAgain(ctx context.Context, pinfl string) error {
	return t.until(ctx, func(ctx context.Context) (bool, error) {
		if err := t.ask(ctx, pinfl, "sign_in"); err != nil {
			return false, err
		}
		got, err := t.follow(ctx, func(c challenge) bool { return c.Message.State == "delivered" || c.State == "no_funds" })
		return got.State != "no_funds", err
	})
}

// trace reads the timeline that the page draws.
func (t *tourist) trace(ctx context.Context) error {
	type hop struct {
		Key string `json:"key"`
	}
	var got struct {
		Hops []hop `json:"hops"`
	}
	err := t.call(ctx, http.MethodGet, "/demo/trace/"+t.confirmed, "", "", http.StatusOK, &got)
	if err != nil {
		return err
	}
	for _, want := range []string{
		page.HopAccepted, page.HopRecord, page.HopIssued, page.HopLane, page.HopAdmitted, page.HopSubmit, page.HopResp,
		page.HopPosted, page.HopReceipt, page.HopDelivered, page.HopConfirmed,
	} {
		if !slices.ContainsFunc(got.Hops, func(h hop) bool { return h.Key == want }) {
			return fmt.Errorf("the hop %q is missing", want)
		}
	}
	return nil
}
