package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/consumers/texts"
	"mobileid/gateway"
	"mobileid/internal/mobileid"
)

// The text that the system pays for. The program has none yet.
const (
	freeText  = "login.changed"
	freeWords = "Your login was changed."
)

// catalogueWithFree is the program's texts and that one.
func catalogueWithFree(t *testing.T) *texts.Catalogue {
	t.Helper()
	files := fstest.MapFS{freeText + ".yaml": {Data: fmt.Appendf(nil,
		"id: %s\nversion: 1\nkind: notice\npayer: mobileid\nbodies: {uz-Latn: Salom, en: %q}\n", freeText, freeWords)}}
	own := os.DirFS("../../../consumers/texts/data")
	names, err := fs.Glob(own, "*.yaml")
	check(t, err)
	for _, name := range names {
		raw, err := fs.ReadFile(own, name)
		check(t, err)
		files[name] = &fstest.MapFile{Data: raw}
	}
	c, err := texts.Load(files)
	check(t, err)
	return c
}

// Where the operator debits subscribers by himself, a text that the system pays for
// goes out as the operator's file says that he does not debit. The subscriber's
// account is untouched and his statement silent, the payer's account has paid; and
// the same file without such a sender is refused, with what to do.
func TestWhatIsFreeGoesOutByAFreeSenderAndThePayerPays(t *testing.T) {
	catalogue := catalogueWithFree(t)
	s := look(t, apptest.Options{Roles: []string{}})
	name := filepath.Join(filepath.Dir(s.ConfigFile), s.Config.OperatorFiles[0])
	written, err := os.ReadFile(name)
	check(t, err)
	operator := func(senders string) error {
		t.Helper()
		text := strings.Replace(string(written), "senders: [", "senders: ["+senders, 1) + "charging: {by: operator}\n"
		check(t, os.WriteFile(name, []byte(text), 0o600))
		cfg, err := config.LoadWith(s.ConfigFile, nil, catalogue)
		if err == nil {
			s.Config = cfg
		}
		return err
	}
	for what, senders := range map[string]string{
		"no sender of the kind":      "",
		"one that is debited":        `{kind: login, addr: "1140"}, `,
		"a free one of another kind": `{kind: otp, addr: "1140", free: true}, `,
	} {
		var wrong config.Mistakes
		if err := operator(senders); !errors.As(err, &wrong) || len(wrong) != 1 ||
			!strings.Contains(wrong[0], `operators[0]: `) || !strings.Contains(wrong[0], `kind: login and free: true`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, operator(`{kind: login, addr: "1140", ton: 3, npi: 1, service_type: FREE, free: true}, `))
	s.Run(app.AllRoles()...)
	p := s.Bind(1, 1000_00)
	account := func() string {
		t.Helper()
		return s.words(`select a::text from accounts a where id = $1`, p.Account)
	}
	listed := func() []string {
		t.Helper()
		a, err := s.TryAs(s.Token("charges:read"), http.MethodPost, "/v1/persons:statement", "", fmt.Sprintf(`{"pinfl":%q}`, p.PINFL))
		check(t, err)
		var b gateway.StatementBody
		check(t, json.Unmarshal(a.Body, &b))
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		var ids []string
		for i := range b.Charges {
			ids = append(ids, b.Charges[i].MessageID.String())
		}
		return ids
	}
	before := account()

	a := s.Call(http.MethodPost, "/v1/notifications", s.NewKey(), fmt.Sprintf(`{"pinfl":%q,"text_id":%q,"slots":{},"locale":"en"}`, p.PINFL, freeText))
	if a.Status != http.StatusAccepted {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	free := a.JSON("id")
	s.Await(free, "delivered")
	got := s.SMSC.Received()
	if len(got) != 1 || got[0].Source != "1140" || got[0].Fields["service_type"] != "FREE" || got[0].Fields["source_addr_ton"] != "3" || got[0].Text != freeWords {
		t.Errorf("%d submit_sm, the last from %q by service %q: %s", len(got), got[len(got)-1].Source, got[len(got)-1].Fields["service_type"], got[len(got)-1].Text)
	}
	if now := account(); now != before {
		t.Errorf("the subscriber's account was %q and is %q", before, now)
	}
	if ids := listed(); len(ids) != 0 {
		t.Errorf("his statement lists %v", ids)
	}
	const paid = `select concat_ws(' ', a.owner, sum(t.held), sum(t.taken), count(distinct t.message_id)) from transfers t join accounts a on a.id = t.account_id group by a.owner`
	if by := s.words(paid); by != "payer:mobileid 0 12000 1" {
		t.Errorf("paid: %q", by)
	}
	if charge := s.words(`select charging || ' ' || charge from messages where id = $1`, s.rawID(free)); charge != string(mobileid.ChargingPayer)+" posted" {
		t.Errorf("the charge: %q", charge)
	}

	// What is not free is as it was: the other sender, and his own money.
	own := s.notify(p)
	s.Await(own, "delivered")
	if got := s.SMSC.Received(); len(got) != 2 || got[1].Source == "1140" || got[1].Fields["service_type"] != "" {
		t.Errorf("%d submit_sm, the last from %q", len(got), got[len(got)-1].Source)
	}
	if now := account(); now == before {
		t.Error("a notice that he pays for moved nothing")
	}
	if ids := listed(); len(ids) != 1 || ids[0] != own {
		t.Errorf("his statement lists %v, want %s", ids, own)
	}
	if by := s.words(paid + ` having a.owner like 'payer:%'`); by != "payer:mobileid 0 12000 1" {
		t.Errorf("the payer paid: %q", by)
	}
	s.balanced()
}
