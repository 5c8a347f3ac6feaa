package registry

import (
	"context"

	"mobileid/internal/mobileid"
)

// RecordConsent stores that a person agreed to be charged, with the version of the
// tariff that he was shown, and returns its number. A price that was not in force
// then at that operator, or is not the version's, is KindConflict, code
// "price_changed": it has to be shown again, with the one in force. Consents are
// never changed.
func (db *DB) RecordConsent(ctx context.Context, c mobileid.Consent) (int64, error) {
	now, found, err := db.PriceAt(ctx, c.Operator, c.Kind, c.At)
	if err != nil {
		return 0, err
	}
	w := c.Warning
	if !found || now.ID != c.TariffID || now.Price != w.Price || string(now.Unit) != w.Unit {
		return 0, conflict("price_changed", "another price was in force: show the warning again, with that one")
	}
	// What was in force at a time never changes, so nothing can come in between.
	var id int64
	err = db.one(ctx, "consent", []any{&id}, `
insert into consents (person, number, operator, kind, text_id, text_version, locale, tariff_id, price, unit, shown_by, at, recorded_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) returning id`,
		c.Person[:], c.Number[:], c.Operator, c.Kind, w.TextID, w.Version, w.Locale, c.TariffID, int64(w.Price), w.Unit, c.By, c.At, db.clock())
	return id, err
}
