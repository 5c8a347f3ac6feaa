package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers/agencies"
	"mobileid/internal/mobileid"
	"mobileid/registry"
)

// Router says who serves a number: the registry's moves, the plan of the
// configuration, the operators' number-info service, in this order.
type Router struct {
	plan      mobileid.NumberPlan
	operators []string
	keys      mobileid.PseudonymKey
	db        *registry.DB
	info      *agencies.NumberInfo // nil: there is none to ask
}

// Router makes the one of this process.
func (a *App) Router() (*Router, error) { return NewRouter(a.cfg, a.db, a.reg) }

// NewRouter makes one beside a process. It connects to nothing yet.
func NewRouter(cfg *config.Config, db *registry.DB, reg prometheus.Registerer) (*Router, error) {
	plan, wrong := cfg.NumberPlan()
	if len(wrong) > 0 {
		return nil, wrong
	}
	keys, err := mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return nil, err
	}
	r := &Router{plan: plan, operators: cfg.OperatorIDs(), keys: keys, db: db}
	if n := cfg.NumberInfo; n.URL != "" {
		r.info = agencies.NewNumberInfo(agencies.NumberInfoConfig{
			URL: n.URL, Token: n.Token.Reveal(), Budget: n.Budget, CacheSize: n.Cache, CacheAge: n.CacheAge,
			Operators: r.operators, Reg: reg,
		})
	}
	return r, nil
}

// Close closes idle connections.
func (r *Router) Close() {
	if r.info != nil {
		r.info.Close()
	}
}

// Route says who serves a number now. That nobody knows is KindUnavailable,
// code "operator_unknown" or "number_info_away": a reason to ask again and
// never one to refuse.
func (r *Router) Route(ctx context.Context, m mobileid.MSISDN) (mobileid.Route, error) {
	moves, err := r.db.Ported(ctx, r.keys.Number(m))
	if err != nil {
		return mobileid.Route{}, err
	}
	route := r.plan.Route(m, moves, time.Now())
	switch {
	case route.Known() && !slices.Contains(r.operators, route.Operator):
		// It had a file when its move was imported.
		return mobileid.Route{}, mobileid.Unavailable("operator_unknown", time.Minute,
			mobileid.Safe(fmt.Errorf("the number is with %s, which operators has no file of", route.Operator)))
	case route.Known():
		return route, nil
	case r.info == nil:
		return mobileid.Route{}, mobileid.Unavailable("operator_unknown", time.Minute,
			mobileid.Safe(errors.New("neither moves nor numbers know it, and number_info has no url")))
	}
	a, err := r.info.Operator(ctx, m)
	if err != nil {
		return mobileid.Route{}, err
	}
	return mobileid.Route{Operator: a.Operator, Rule: mobileid.RuleNumberInfo, From: a.At}, nil
}

// ImportPorted reads a file of ported numbers into the registry, whole or not
// at all, and returns how many moves it has and how many of them are new. The
// mistakes of a wrong file come together.
func ImportPorted(ctx context.Context, cfg *config.Config, file io.Reader, log *slog.Logger) (all, added int, wrong []error, err error) {
	keys, err := mobileid.NewPseudonymKey([]byte(cfg.Keys.Pseudonym.Reveal()))
	if err != nil {
		return 0, 0, nil, err
	}
	moves, wrong := agencies.ReadPorted(file, cfg.OperatorIDs(), keys)
	if len(wrong) > 0 {
		return 0, 0, wrong, nil
	}
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return 0, 0, nil, err
	}
	defer db.Close()
	added, err = db.ImportPorted(ctx, moves)
	return len(moves), added, nil, err
}

// RouteNumber asks who serves a number, for a person.
func RouteNumber(ctx context.Context, cfg *config.Config, m mobileid.MSISDN, log *slog.Logger) (mobileid.Route, error) {
	db, err := openRegistry(ctx, cfg, log)
	if err != nil {
		return mobileid.Route{}, err
	}
	defer db.Close()
	r, err := NewRouter(cfg, db, nil)
	if err != nil {
		return mobileid.Route{}, err
	}
	defer r.Close()
	return r.Route(ctx, m)
}
