// Package sms turns the words of a Message into what submit_sm carries: the
// alphabet, the octets and the parts, the way an operator wants them (Options).
//
// Its promise: a handset that joins the parts of Encode reads the text letter by
// letter (apostrophes folded, see Fold). A letter is never dropped, replaced or
// sent in a wrong alphabet: a text that the operator's default alphabet cannot
// hold goes as UCS-2, and a text that cannot go at all is an error. Fewest parts
// matter, because the subscriber pays for each Message (decree clause 32).
//
// The package keeps its own GSM 03.38 table. go-smpp's pdutext is used in tests
// only, to compare with: for a letter outside GSM-7 it returns the UTF-8 bytes
// unchanged under data_coding 0.
package sms
