// Package page is the demo's web page and the small backend behind it.
//
// Its promise: what a person sees is what happened. The page itself is the
// relying party: it calls the public /v1 API of the same origin with a real
// token, and every hop it draws opens to the bytes that were really written:
// the HTTP exchange, the Kafka record, the Message row, the PDUs, the charge.
// The backend reads and has no state but the open event streams; what it
// changes is what a person breaks by a button; a top-up is told by the operator,
// over the public API.
//
// Routes, all GET but the last two:
//
//	/                 the page
//	/demo/style.css   /demo/app.js
//	/demo/setup       persons, purposes, languages, engines (JSON)
//	/demo/token       a live bearer token for /v1 (JSON)
//	/demo/trace/{id}  the hops of a challenge or Message so far (JSON)
//	/demo/messages    what ?id=... put on a handset (JSON), for curl
//	/demo/events      the simulated handsets, the counts and the accounts, live (SSE)
//	/demo/break/{what}   POST: throttle, hang or kill, for a while
//	/demo/top-up/{n}     POST: the operator tells that the n-th person has topped up
//
// It shows texts and raw PDUs, which a real deployment never would: it is for
// the demo's synthetic persons on a loopback address only. Therefore it
// answers only to its own Host (a foreign name that resolves to 127.0.0.1 gets
// 421), refuses cross-site fetches, sends no CORS header and a content policy
// without inline script.
//
// For tests that drive the page, these element ids are stable:
//
//	#person #purpose #locale   the form's choices (select)
//	#request                   the button that asks for a code
//	#phone                     the drawn handset; #sms is its newest text, and
//	                           carries data-code when there is a code in it
//	#balance                   the money of the chosen person
//	#stopped                   says that his SMS are stopped; data-why is balance or
//	                           barred, "" when they are not
//	#topup                     the button by which the operator tells of 240 soum
//	#code #verify              the field for the code, and the button
//	#result                    what came of it; data-state is the state of the
//	                           challenge ("" before a request, then accepted,
//	                           pending, wrong, confirmed, expired, ...)
//	#notice                    the button that sends a notice
//	#hops                      the timeline: li[data-hop=KEY][data-reached=true|false],
//	                           the keys are the Hop constants
//	#accepted #delivered #confirmed #charged   the live counts
//	#throttle #hang #kill      the buttons that break something, in #breaks;
//	                           #broken says what is out of order, its
//	                           data-broken is the Breakage, "" when nothing is
//	#lost #doubled             what became of it, by the operator's ground truth
package page
