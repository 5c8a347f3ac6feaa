package mobileid

import "testing"

func TestATextCellIsNoFormula(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "a=1": "a=1", "'x": "'x", "1 =1": "1 =1", "12": "12",
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@A1": "'@A1", "\t=1": "'\t=1", "\r=1": "'\r=1",
	} {
		if got := TextCell(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestCellsOfNumbersStayNumbers(t *testing.T) {
	type row struct{}
	columns := []Column[row]{
		{"text", func(*row) any { return "-a" }},
		{"number", func(*row) any { return NumberCell("+998") }},
		{"count", func(*row) any { return -3 }},
		{"money", func(*row) any { return Money(-120) }},
		{"yes", func(*row) any { return true }},
		{"none", func(*row) any { return nil }},
	}
	for i, want := range []string{"'-a", "+998", "-3", "-1.20", "true", ""} {
		if got := CSVCells(columns, &row{})[i]; got != want {
			t.Errorf("%s is %q, want %q", columns[i].Name, got, want)
		}
	}
	if got := Cells(columns, &row{})[0]; got != "-a" {
		t.Errorf("for people: %q", got)
	}
	object, err := Object(columns, &row{})
	if want := `{"text":"-a","number":"+998","count":-3,"money":"-1.20","yes":true,"none":null}`; err != nil || string(object) != want {
		t.Errorf("%s %v, want %s", object, err, want)
	}
}
