package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// tour does what a person would do on the page, over HTTP alone: the public
// API, and the handset's feed for reading the SMS.
func (d *demo) tour(ctx context.Context, url string) error {
	walk, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t := &tourist{url: url, client: &http.Client{Timeout: 35 * time.Second}}
	people, poor := persons(), poorPerson(d.began)
	if err := d.bind(ctx, poor); err != nil {
		return fmt.Errorf("the tour's person: %w", err)
	}
	steps := []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"get a token from the issuer", t.getToken},
		{"ask for a sign-in code", func(ctx context.Context) error { return t.ask(ctx, people[0].pinfl, "sign_in") }},
		{"read the SMS on the handset", t.readCode},
		{"the operator's receipt says delivered", t.awaitDelivery},
		{"a wrong code is refused", t.wrongCode},
		{"the right code is confirmed", t.verify},
		{"the same verify again gives the same confirmation", t.verify},
		{"the code does not work a second time", t.usedCode},
		{"the same request again is one request", t.sameKey},
		{"the same key with another body is refused", t.otherBody},
		{"a wrong PINFL is named by its field", t.wrongPINFL},
		{"another code takes the place of the first", func(ctx context.Context) error { return t.anotherCode(ctx, people[0].pinfl) }},
		{"a challenge that is taken back has no code any more", func(ctx context.Context) error { return t.takeBack(ctx, people[0].pinfl) }},
		{"three wrong codes, a pause, and then a new code", func(ctx context.Context) error { return t.threeWrong(ctx, people[1].pinfl) }},
		{"send a notice, delivered", func(ctx context.Context) error { return t.notice(ctx, people[0].pinfl) }},
		{"a person without a number ends as unbound", func(ctx context.Context) error { return t.endsAs(ctx, people[3].pinfl, "unbound") }},
		{"a phone out of reach ends as undeliverable", func(ctx context.Context) error { return t.endsAs(ctx, people[2].pinfl, "undeliverable") }},
		{"money for two messages pays two", func(ctx context.Context) error { return t.spend(ctx, poor.pinfl) }},
		{"the third ends as no_funds", func(ctx context.Context) error { return t.endsAs(ctx, poor.pinfl, "no_funds") }},
		{"the operator tells of a top-up, and SMS come again", func(ctx context.Context) error {
			if err := d.topUp(ctx, poor, poor.soum); err != nil {
				return err
			}
			return t.paidAgain(ctx, poor.pinfl)
		}},
		{"the whole life of the code can be read back", t.trace},
	}
	for i, s := range steps {
		began := time.Now()
		err := s.do(walk)
		switch {
		case err != nil && ctx.Err() != nil:
			return d.cut(err)
		case err != nil:
			d.sayf("tour %2d/%d  FAILED  %s: %v", i+1, len(steps), s.name, err)
			return fmt.Errorf("tour step %d (%s): %w", i+1, s.name, err)
		}
		d.sayf("tour %2d/%d  ok  %6.0f ms  %s", i+1, len(steps), float64(time.Since(began).Microseconds())/1000, s.name)
	}
	return nil
}
