package mobileid

import (
	"regexp"
	"slices"
	"strings"
)

// The closed list of reasons: the one word more that a state of a Message or a
// challenge may carry to the outside. One fact has one reason, wherever it is
// found. Three families follow the list: "challenge_" and the state that a
// challenge ended in, for its Message; "receipt_" and the final state of a
// receipt, for the challenge of its Message; "smpp_" and a command_status in
// hexadecimal, for what the operator refused.
const (
	// Decided when a request is read.

	ReasonKeyReused = "key_reused" // the Idempotency-Key was used for another body
	ReasonSecondID  = "second_id"  // the same request got a second id; the first has the effect
	ReasonUnbound   = "unbound"    // the person has no active binding
	ReasonNewer     = "newer"      // a newer challenge took its place
	ReasonResent    = "resent"     // a newer code of the same challenge took its place
	ReasonClient    = "client"     // its client does not want it any more
	ReasonTooMany   = "too_many"   // too many codes to the person or to the number in a time

	ReasonSIMSwapped = "sim_swapped" // the SIM of the number was changed lately
	ReasonSIMUnknown = "sim_unknown" // nobody says whether it was, and the purpose wants to know

	// Decided at admission.

	ReasonBindingChanged = "binding_changed" // the binding it was made for is gone or changed
	ReasonBalance        = "balance"         // the account cannot pay for it
	ReasonDailyLimit     = "daily_limit"     // it would cost more a day than the subscriber wants
	ReasonSuspended      = "suspended"       // SMS to the binding are suspended: the money is out, or the operator bars them
	ReasonChallengeGone  = "challenge_gone"  // its challenge has no row

	// Decided by the clock or by a loss.

	ReasonDeadline     = "deadline"      // its time was over
	ReasonNotProcessed = "not_processed" // its time was over before any consumer stored it
	ReasonOwnerLost    = "owner_lost"    // the bridge that had it is gone
	ReasonNoReceipt    = "no_receipt"    // the operator took it and never said what became of it
	ReasonCodeLost     = "code_lost"     // Redis lost the live code
	ReasonWrongCodes   = "wrong_codes"   // every try was used

	// Told by the operator or found by the bridge.

	ReasonReceipt          = "receipt"
	ReasonCannotPay        = "subscriber_cannot_pay"  // says the operator, who charges the subscriber
	ReasonNoAnswer         = "no_answer"              // written, not answered in time
	ReasonLinkLost         = "link_lost"              // written, then the link was lost
	ReasonLateAnswer       = "late_answer"            // the answer came after the wait for it
	ReasonChargeUnknown    = "charge_unknown"         // whoever charges said neither yes nor no: asked again
	ReasonChargeDenied     = "charge_denied"          // whoever charges refuses the service to the subscriber
	ReasonChargeNoUser     = "charge_no_user"         // whoever charges does not know the subscriber
	ReasonNotWritten       = "not_written"            // surely not written: admitted again
	ReasonAdmissionUnknown = "admission_unknown"      // the registry did not say whether it was admitted
	ReasonLinkDown         = "link_down"              // given back: no link
	ReasonLeaseLost        = "lease_lost"             // given back: the bridge's lease has ended
	ReasonDrained          = "bridge_drained"         // given back: the bridge stopped
	ReasonUnsealable       = "sealed_text_unreadable" // our keys do not open the text
	ReasonUnencodable      = "text_unencodable"       // the alphabets cannot carry the text
	ReasonFieldTooLong     = "pdu_field_too_long"     // a field does not fit its PDU
	ReasonTooManyParts     = "too_many_parts"         // more than can be remembered, see MaxParts
	ReasonCompose          = "compose"                // the PDU could not be made otherwise
)

// reasons is the list, without its families.
var reasons = []string{
	ReasonKeyReused, ReasonSecondID, ReasonUnbound, ReasonNewer, ReasonResent, ReasonClient, ReasonTooMany,
	ReasonSIMSwapped, ReasonSIMUnknown,
	ReasonBindingChanged, ReasonBalance, ReasonDailyLimit, ReasonSuspended, ReasonChallengeGone,
	ReasonDeadline, ReasonNotProcessed, ReasonOwnerLost, ReasonNoReceipt, ReasonCodeLost, ReasonWrongCodes,
	ReasonReceipt, ReasonCannotPay, ReasonNoAnswer, ReasonLinkLost, ReasonLateAnswer,
	ReasonChargeUnknown, ReasonChargeDenied, ReasonChargeNoUser, ReasonNotWritten, ReasonAdmissionUnknown, ReasonLinkDown, ReasonLeaseLost, ReasonDrained,
	ReasonUnsealable, ReasonUnencodable, ReasonFieldTooLong, ReasonTooManyParts, ReasonCompose,
}

var commandStatus = regexp.MustCompile(`^smpp_0x[0-9a-f]{2,8}$`)

// ReasonOfSIM reports whether a reason tells something about the SIM of the person.
func ReasonOfSIM(reason string) bool { return reason == ReasonSIMSwapped || reason == ReasonSIMUnknown }

// ReasonOfChallenge is the reason of a Message that ends with its challenge.
func ReasonOfChallenge(s ChallengeState) string { return "challenge_" + string(s) }

// ReasonListed reports whether a reason is in the closed list or in one of its
// families; "" is no reason and always allowed.
func ReasonListed(reason string) bool {
	if reason == "" || slices.Contains(reasons, reason) || commandStatus.MatchString(reason) {
		return true
	}
	if state, ok := strings.CutPrefix(reason, "challenge_"); ok {
		return ChallengeState(state).Terminal()
	}
	if state, ok := strings.CutPrefix(reason, "receipt_"); ok {
		return MessageState(state).Terminal()
	}
	return false
}
