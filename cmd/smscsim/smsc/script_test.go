package smsc

import (
	"testing"
	"time"
)

func TestAScriptKnowsWhetherAnyFaultIsLeft(t *testing.T) {
	now := time.Now()
	var s script
	want := func(left bool, after string) {
		t.Helper()
		if s.any() != left || len(s.inForce(now)) > 0 != left {
			t.Errorf("after %s: any %t, in force %v", after, s.any(), s.inForce(now))
		}
	}
	want(false, "nothing")
	s.add(Fault{Kind: FaultStatus, Count: 2, Status: 88}, now)
	s.add(Fault{Kind: FaultDelay, For: time.Second, Delay: time.Second}, now)
	want(true, "two are added")
	s.use(FaultStatus, "", now)
	s.use(FaultStatus, "", now)
	want(true, "one is used up")
	now = now.Add(time.Second)
	s.use(FaultDelay, "", now)
	want(false, "the other has ended by itself")
	s.add(Fault{Kind: FaultNack, Count: 1}, now)
	s.add(Fault{Kind: FaultNack}, now)
	s.use(FaultNack, "", now)
	want(true, "the first of a kind is used up")
	s.lift(FaultNack)
	want(false, "the kind is lifted")
	s.add(Fault{Kind: FaultIDs, Form: idUpper}, now)
	s.liftAll()
	want(false, "all are lifted")
}
