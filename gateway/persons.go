package gateway

import (
	"net/http"
	"time"

	"mobileid/internal/mobileid"
)

// lookupBody names a person to the client that asked.
type lookupBody struct {
	PersonID string `json:"person_id"`
}

// lookupPerson answers POST /v1/persons:lookup. It looks nothing up: every PINFL with a
// valid check digit has a person_id, whether anybody has it or not.
func (g *Gateway) lookupPerson(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var pinfl string
	if err := decodeObject(body, map[string]field{"pinfl": text("pinfl", &pinfl)}); err != nil {
		return err
	}
	who, err := parsePINFL(pinfl)
	if err != nil {
		return err
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	deps := g.accepter.deps
	return writeJSON(w, http.StatusOK, lookupBody{deps.IDKey.PersonID(client.ID, deps.Pseudonyms.Person(who))})
}

// verificationBody answers what is known of a person and a number. "unknown" is no
// refusal: we do not know.
type verificationBody struct {
	Bound     mobileid.Answer `json:"bound"`            // he has a number here
	Number    mobileid.Answer `json:"number,omitempty"` // it is the one that was asked about
	SMS       mobileid.Answer `json:"sms"`              // they are not suspended
	CheckedAt time.Time       `json:"checked_at"`
}

// verifyPerson answers POST /v1/verifications (decree clause 29, item 2): a question
// about a person and a number, without an SMS. Who asked what of whom is kept.
func (g *Gateway) verifyPerson(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	body, err := g.aboutPerson(w, r, client)
	if err != nil {
		return err
	}
	q, who, err := parseVerification(body)
	if err != nil {
		return err
	}
	if err := checkService(client, q.service); err != nil {
		return err
	}
	person, err := g.accepter.person(client, who)
	if err != nil {
		return err
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	ask := mobileid.PersonQuestion{Client: client.ID, Person: person, ClientRef: q.clientRef}
	if q.asksNumber {
		n := g.accepter.deps.Pseudonyms.Number(q.number)
		ask.Number = &n
	}
	a, err := g.deps.Registry.AskPerson(r.Context(), ask)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, verificationBody{a.Bound, a.Number, a.SMS, a.At.UTC()})
}

type verificationRequest struct {
	number     mobileid.MSISDN
	asksNumber bool
	service    string
	clientRef  string
}

func parseVerification(body []byte) (q verificationRequest, w who, err error) {
	var pinfl, personID, number string
	if err := decodeObject(body, map[string]field{
		"pinfl": text("pinfl", &pinfl), "person_id": text("person_id", &personID), "number": text("number", &number),
		"service": text("service", &q.service), "client_ref": text("client_ref", &q.clientRef),
	}); err != nil {
		return q, w, err
	}
	if w, err = parseWho(pinfl, personID); err != nil {
		return q, w, err
	}
	if number != "" {
		q.asksNumber = true
		if q.number, err = mobileid.ParseMSISDN(number); err != nil {
			return q, w, mobileid.Invalid("number", mobileid.CodeOf(err), "a number is +998 and nine digits")
		}
	}
	return q, w, checkClientRef(q.clientRef)
}

// stepUp answers POST /v1/persons:stepUp: the client has seen the person's face, so
// what was counted of him stands against no code any more. It may be repeated.
func (g *Gateway) stepUp(w http.ResponseWriter, r *http.Request, client mobileid.Client) error {
	if client.Mode == mobileid.ModeTest {
		return testMode()
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var pinfl, personID, method string
	if err := decodeObject(body, map[string]field{
		"pinfl": text("pinfl", &pinfl), "person_id": text("person_id", &personID), "method": text("method", &method),
	}); err != nil {
		return err
	}
	who, err := parseWho(pinfl, personID)
	if err != nil {
		return err
	}
	if method != "face_id" {
		return mobileid.Invalid("method", "method_unknown", "face_id")
	}
	person, err := g.accepter.person(client, who)
	if err != nil {
		return err
	}
	if err := g.accepter.spend(r.Context(), client); err != nil {
		return err
	}
	if err := g.deps.Registry.StepUp(r.Context(), person, client.ID, method); err != nil {
		return err
	}
	g.log.InfoContext(r.Context(), "a person has shown himself otherwise", "client", client.ID, "method", method, "trace_id", recordOf(r).trace.id())
	w.WriteHeader(http.StatusNoContent)
	return nil
}
