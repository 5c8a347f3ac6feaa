package gateway

import (
	"context"
	"time"

	"mobileid/internal/mobileid"
)

// registryTime bounds one question to the registry: a connection that hangs
// must not hold requests, and through them the pool, for minutes.
const registryTime = 2 * time.Second

// bounded is the registry with that bound on every call.
type bounded struct{ Registry }

func (b bounded) Challenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeView, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.Challenge(ctx, client, id)
}

func (b bounded) Message(ctx context.Context, client string, id mobileid.ID) (mobileid.MessageView, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.Message(ctx, client, id)
}

func (b bounded) LiveChallenge(ctx context.Context, client string, id mobileid.ID) (mobileid.LiveChallenge, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.LiveChallenge(ctx, client, id)
}

func (b bounded) CountWrongTry(ctx context.Context, id mobileid.ID, exempt bool) (used int, err error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.CountWrongTry(ctx, id, exempt)
}

func (b bounded) EndChallenge(ctx context.Context, id mobileid.ID, state mobileid.ChallengeState, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.EndChallenge(ctx, id, state, reason)
}

func (b bounded) CancelChallenge(ctx context.Context, client string, id mobileid.ID) (mobileid.ChallengeState, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.CancelChallenge(ctx, client, id)
}

func (b bounded) Confirm(
	ctx context.Context, client string, id mobileid.ID, verifyKey mobileid.KeyPart, contextHash string,
) (mobileid.Confirmation, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.Confirm(ctx, client, id, verifyKey, contextHash)
}

func (b bounded) Confirmation(ctx context.Context, client string, id mobileid.ID) (mobileid.Confirmation, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.Confirmation(ctx, client, id)
}

func (b bounded) AskPerson(ctx context.Context, q mobileid.PersonQuestion) (mobileid.PersonAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.AskPerson(ctx, q)
}

func (b bounded) StepUp(ctx context.Context, person mobileid.Pseudonym, client, method string) error {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.StepUp(ctx, person, client, method)
}

// statementTime is longer: a page is made of some hundred rows.
const statementTime = 5 * time.Second

func (b bounded) PersonStatement(ctx context.Context, q mobileid.StatementQuery) (mobileid.PersonStatement, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	return b.Registry.PersonStatement(ctx, q)
}

// operatorDayTime is as long as an answer may take (NewServer): all transfers of an
// operator's day are added up.
const operatorDayTime = 40 * time.Second

func (b bounded) OperatorDay(ctx context.Context, operator string, at time.Time) (mobileid.OperatorDay, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorDayTime)
	defer cancel()
	return b.Registry.OperatorDay(ctx, operator, at)
}

func (b bounded) SetDailyCeiling(ctx context.Context, person mobileid.Pseudonym, ceiling *mobileid.Money) (mobileid.SubscriberView, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return b.Registry.SetDailyCeiling(ctx, person, ceiling)
}
