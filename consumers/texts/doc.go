// Package texts is the catalogue of everything that the system can say in an
// SMS.
//
// Its promise: no free text. A text is a data file with typed slots (a code, a
// number of minutes, a word of a closed list, an instant); whatever fills a
// slot is checked by its type, so a client can choose among sentences but not
// write one. Every text fits one part in every language at its longest
// filling, because the subscriber pays for each Message (decree clause 32);
// Load refuses a catalogue that does not keep this.
//
// Uzbek texts are stored with the true letters (U+02BB in oʻ and gʻ, U+02BC in
// taʼlim); internal/sms folds them when a text is put on the air.
package texts
