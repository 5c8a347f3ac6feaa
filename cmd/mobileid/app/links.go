package app

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"mobileid/internal/mobileid"
	"mobileid/smpp"
)

// LinkOrders are what a person may order of a link, by their words.
var LinkOrders = map[string]func(b *smpp.Bridge, bind string) error{
	"start": (*smpp.Bridge).StartLink,
	"drain": (*smpp.Bridge).DrainLink,
	"stop":  (*smpp.Bridge).StopLink,
}

// linksBody is the answer of GET /links.
type linksBody struct {
	Links []smpp.LinkView `json:"links"`
}

// handleLinks adds what `mobileid links` asks a process on its admin address.
func (a *App) handleLinks(mux *http.ServeMux) {
	mux.HandleFunc("GET /links", a.getLinks)
	mux.Handle("POST /links/{operator}/trace", notFromAPage(http.HandlerFunc(a.traceLinks)))
	mux.Handle("POST /links/{operator}/{order}", notFromAPage(http.HandlerFunc(a.orderLink)))
}

func (a *App) getLinks(w http.ResponseWriter, _ *http.Request) {
	body := linksBody{Links: []smpp.LinkView{}}
	for _, b := range a.bridges {
		body.Links = append(body.Links, b.Links()...)
	}
	answerJSON(w, http.StatusOK, body)
}

// orderLink carries out {bind}:start, {bind}:drain or {bind}:stop. It answers
// when the order is given, which is before it is carried out.
func (a *App) orderLink(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "want Content-Type: application/json", http.StatusUnsupportedMediaType)
		return
	}
	order := r.PathValue("order")
	colon := strings.LastIndexByte(order, ':')
	do, ok := LinkOrders[order[colon+1:]]
	if colon < 0 || !ok {
		http.Error(w, "want /links/OPERATOR/BIND:start, :drain or :stop", http.StatusNotFound)
		return
	}
	b := a.bridge(r.PathValue("operator"))
	if b == nil {
		http.Error(w, "this process has no bridge to that operator", http.StatusNotFound)
		return
	}
	bind := order[:colon]
	if err := do(b, bind); err != nil {
		http.Error(w, err.Error(), mobileid.KindOf(err).Status())
		return
	}
	a.log.InfoContext(r.Context(), "a link was ordered by hand", "operator", b.Operator(), "bind", bind, "order", order[colon+1:])
	w.WriteHeader(http.StatusAccepted)
}

// bridge returns the bridge to an operator, nil when this process has none.
func (a *App) bridge(operator string) *smpp.Bridge {
	for _, b := range a.bridges {
		if b.Operator() == operator {
			return b
		}
	}
	return nil
}

// notFromAPage refuses what a browser sends for a page: these headers are the
// browser's own, no script can leave them out, and no page has business here.
func notFromAPage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			http.Error(w, "not for pages: use mobileid links, or curl", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone; nobody is left to tell
}
