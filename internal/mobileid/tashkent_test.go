package mobileid

import (
	"testing"
	"time"
	_ "time/tzdata" // what the fixed zone is compared with
)

func TestTashkentIsTheZoneOfTheDatabase(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Tashkent")
	if err != nil {
		t.Fatal(err)
	}
	for at := time.Date(1993, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2030; at = at.AddDate(0, 1, 0) {
		if _, want := at.In(zone).Zone(); want != 5*60*60 || !at.In(Tashkent).Equal(at) || at.In(Tashkent).Hour() != at.In(zone).Hour() {
			t.Fatalf("%s: the database has %d seconds", at, want)
		}
	}
}
