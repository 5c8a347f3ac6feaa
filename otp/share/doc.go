// Package share divides the pace of an operator's account among the bridges
// that write to it, by a lease in Redis.
//
// Its promise: the shares of all bridges never add up to more than the account
// may write, but for one lease at most when some lost sight of Redis; and while Redis answers and the wishes stay
// the same, they add up to all of it within two renewals of each bridge.
//
//   - A bridge is given what others do not hold, and what it holds is less only
//     when it has said itself that it uses less. So no two ever hold the same
//     part, whatever answers were lost.
//   - Each bridge renews every second, and says what it wrote and whether it was
//     held back. Who needs less than an equal share leaves the rest to others;
//     what nobody needs is divided equally.
//   - A new bridge has a share within two seconds: as soon as the others have
//     renewed. Until then it writes nothing.
//   - A bridge counts its lease from before it asked, Redis from when it
//     answered and a second longer. So what a dead one held is free after its
//     lease, and not before it has stopped.
//   - Without Redis each bridge takes an equal part, by the number of bridges
//     that the registry sees alive or that Redis last knew, whichever is
//     greater. Who sees Redis leaves such a part to each bridge that does not.
//     Who never learned a number writes nothing.
//
// An account is one key with one hash tag, so Redis Cluster works unchanged. It
// holds random names of processes and rates, nothing of a person.
package share
