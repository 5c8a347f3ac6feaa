// Package agencies speaks to the outside agencies over HTTP and reads the files
// that they send. Today: the operators' number-info and SIM Swap services, and the
// file of ported numbers.
//
// Its promise: what an agency did not answer, or answered with rubbish, is
// unknown (to ask again) and never a refusal; an asker waits no
// longer than the budget of the agency; an agency that is down is left in peace;
// and no number or person is in a URL, a log line, an error or a metric.
package agencies
