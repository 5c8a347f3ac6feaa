package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// anotherCode asks for a second code of a challenge and confirms with it; the first is
// dead by then.
func (t *tourist) anotherCode(ctx context.Context, pinfl string) error {
	if err := t.ask(ctx, pinfl, "confirm_application"); err != nil {
		return err
	}
	if err := t.readCode(ctx); err != nil {
		return err
	}
	first := t.code
	err := t.soon(ctx, func(ctx context.Context) error {
		return t.call(ctx, http.MethodPost, "/v1/challenges/"+t.id+"/resend", t.newKey(), "{}", http.StatusAccepted, nil)
	})
	if err != nil {
		return err
	}
	if _, err := t.follow(ctx, func(c challenge) bool { return c.Sends == 2 && c.Message.State == "delivered" }); err != nil {
		return err
	}
	if err := t.until(ctx, func(ctx context.Context) (bool, error) {
		t.code, err = t.codeOf(ctx, t.id)
		return t.code != first, err
	}); err != nil {
		return err
	}
	if err := t.problem(ctx, "/v1/challenges/"+t.id+"/verify", t.newKey(), fmt.Sprintf(`{"code":%q}`, first), http.StatusBadRequest, "code_wrong", ""); err != nil {
		return fmt.Errorf("the first code: %w", err)
	}
	t.verifyKey = ""
	return t.verify(ctx)
}

// soon repeats what is refused because it comes too early.
func (t *tourist) soon(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := do(ctx)
		if refused := new(refusal); !errors.As(err, &refused) || refused.status != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (t *tourist) takeBack(ctx context.Context, pinfl string) error {
	if err := t.ask(ctx, pinfl, "permit_access"); err != nil {
		return err
	}
	if err := t.readCode(ctx); err != nil {
		return err
	}
	var got challenge
	err := t.call(ctx, http.MethodPost, "/v1/challenges/"+t.id+"/cancel", "", "{}", http.StatusOK, &got)
	if err != nil || got.State != "cancelled" {
		return errors.Join(err, fmt.Errorf("it is %q", got.State))
	}
	return t.problem(ctx, "/v1/challenges/"+t.id+"/verify", t.newKey(), fmt.Sprintf(`{"code":%q}`, t.code), http.StatusConflict, "challenge_cancelled", "")
}

// threeWrong guesses until the challenge is dead, is told when to come again, and does.
func (t *tourist) threeWrong(ctx context.Context, pinfl string) error {
	if err := t.ask(ctx, pinfl, "sign_in"); err != nil {
		return err
	}
	if err := t.readCode(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := t.wrongCode(ctx); err != nil {
			return err
		}
	}
	if err := t.problem(ctx, "/v1/challenges/"+t.id+"/verify", t.newKey(), fmt.Sprintf(`{"code":%q}`, t.code), http.StatusConflict, "challenge_exhausted", ""); err != nil {
		return err
	}
	if err := t.ask(ctx, pinfl, "sign_in"); err != nil {
		return err
	}
	got, err := t.follow(ctx, func(c challenge) bool { return c.State != "accepted" })
	if err != nil || got.State != "limited" || got.RetryAt.IsZero() {
		return errors.Join(err, fmt.Errorf("after three wrong codes: %q, again at %s", got.State, got.RetryAt))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(got.RetryAt)):
	}
	if err := t.ask(ctx, pinfl, "sign_in"); err != nil {
		return err
	}
	return t.readCode(ctx)
}
