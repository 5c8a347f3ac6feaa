// Package pace keeps the pace of one operator account: when the next submit_sm
// may be written, and how fast the account takes them.
//
// Its promises:
//
//   - No more is written than the rate allows, and a small burst above it. The
//     rate is never above the ceiling, and throttling alone never brings it
//     below the floor.
//   - A few throttled answers (ESME_RTHROTTLED) change nothing. When their share
//     is too large for chance, the rate is cut to what the operator took.
//   - A cut is a question. When the throttled share stays, the cut is undone,
//     and not asked again for half a minute, then a minute, up to ten minutes.
//     Only when almost nothing is taken is slowness kept: it costs nothing then.
//   - A limit that nobody named is found from above within seconds. More is
//     asked for again after three seconds, later once a minute: limits change.
//   - Until then an operator who throttles everything is asked 200 times a second
//     at most, not as fast as he answers.
//   - Slow answers are not throttling: no latency goes in.
//   - One destination with a full queue (ESME_RMSGQFUL) waits alone. When many
//     have one at once it is the account's queue, and counts as throttling.
//   - A fixed pace is the ceiling and nothing else: only destinations with a full
//     queue wait.
//
// How it decides: two sequential tests of shares, so that the number of answers
// it takes follows from how clear they are. Page's CUSUM finds where throttling
// began; Wald's SPRT judges a cut: is the share a quarter of what it was, or
// still the same? What the operator takes while he throttles is his limit, and
// there a cut goes; a constant factor, as in AIMD, would have to guess.
//
// The package keeps no time and starts nothing: each call is told the time, and
// a time that runs backwards counts as standing still. Its memory is fixed.
package pace
