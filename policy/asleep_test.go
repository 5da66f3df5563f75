package policy_test

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"strconv"
	"testing"

	"idle-scaler/activity"
	. "idle-scaler/policy"
)

// asleepRules are the rules for a server at zero replicas, in their order.
var asleepRules = []row{
	{"a command has started it, and it had to wait for those that it comes `after`", started, Wake, Started, ""},
	{"somebody else made it zero", notOurs, Keep, NotOurs, ""},
	{"its settings can't be read", unreadable, Keep, Unreadable, ""},
	{"somebody holds it asleep", held(true, "14:00:00"), Keep, HeldAsleep, "14:00:00"},
	{"somebody holds it awake", held(false, "18:00:00"), Wake, Held, "18:00:00"},
	{"a command stopped it", stopped, Keep, Stopped, ""},
	{"a lease on it is live", leased("11:50:00", "12:05:00"), Wake, Leased, "12:05:00"},
	{"it has a use that the decision to sleep did not know", pinged("11:50:00"), Wake, Activity, ""},
	{"a `keep-warm` window is open", keepWarm("0 9 * * * for 9h"), Wake, KeepWarm, "18:00:00"},
	{"another of its `group` is awake, or wakes", grouped, Wake, Grouped, ""},
	{"the daemon can't read the activity log, or the log never held a ping", lost, Keep, Blind, ""},
	{"the daemon can read the activity log again, for less than `--settle`", settling, Keep, Blind, "12:01:30"},
	{"none of these", nothing, Keep, Asleep, ""},
}

// A zero of somebody else and an ordered zero stay. A known use wakes a server even when others may
// have been missed.
func TestDecideAsleep(t *testing.T) {
	checkOrder(t, sleeping, asleepRules)
}

// Whatever wakes a server, the servers before it have to be ready first. A server that does not
// wake does not wait either.
func TestDecideWake(t *testing.T) {
	for _, r := range asleepRules {
		if r.action == Wake {
			r.action, r.reason = Keep, Ordered
		}
		r.check(t, r.name+", and those before it are not ready", sleeping(waiting, r.fact))
	}
}

// asleepEdges are cases of demand: a level, not an edge, so that any leader at any time decides the
// same.
var asleepEdges = []row{
	{"paused: still woken", together(paused, pausedBy("all servers"), pinged("11:50:00")), Wake, Activity, ""},
	{"`idle-after` is `never`: still woken", together(never, pinged("11:50:00")), Wake, Activity, ""},
	{"`dry-run`: still woken", together(dryRun, pinged("11:50:00")), Wake, Activity, ""},
	{"somebody else has woken it twice: still woken", together(reverted(2, "kubectl"), pinged("11:50:00")), Wake, Activity, ""},
	{"the order of its group can't be kept: still woken", together(disordered, pinged("11:50:00")), Wake, Activity, ""},
	{"started by a command, held awake, and somebody else made it zero", together(started, notOurs, held(false, "18:00:00")), Wake, Started, ""},
	{"used while it was held asleep, and the hold ends now", together(held(true, "12:00:00"), pinged("11:50:00"), func(f *Facts) { f.Because = BecauseHold }), Wake, Activity, ""},
	{"not used, and the hold asleep ends now", together(held(true, "12:00:00"), func(f *Facts) { f.Because = BecauseHold }), Keep, Asleep, ""},
	{"a hold awake ends now", held(false, "12:00:00"), Keep, Asleep, ""},
	{"stopped, in a window", together(stopped, keepWarm("0 9 * * * for 9h")), Keep, Stopped, ""},
	{"put to sleep by a `sleep-at` in an open window", together(func(f *Facts) { f.Because = BecauseSchedule }, keepWarm("0 9 * * * for 9h")), Wake, KeepWarm, "18:00:00"},
	{"a window opens now", keepWarm("0 12 * * * for 1h"), Wake, KeepWarm, "13:00:00"},
	{"a window has opened while no daemon ran", keepWarm("0 3 * * * for 10h"), Wake, KeepWarm, "13:00:00"},
	{"a window closes now", keepWarm("0 11 * * * for 1h"), Keep, Asleep, "2026-07-02 11:00:00"},
	{"a window opens later", keepWarm("0 14 * * * for 1h"), Keep, Asleep, "14:00:00"},
	{"a window opens later, another of its group is awake", together(keepWarm("0 14 * * * for 1h"), grouped), Wake, Grouped, "14:00:00"},
	{"the ping that the sleep knew", func(f *Facts) { f.Seen = f.Use.Last }, Keep, Asleep, ""},
	{"a ping before the sleep that it did not know", pinged("11:29:00"), Wake, Activity, ""},
	{"a ping of the same number, in a stream that was made again", func(f *Facts) { f.Use.Last.Time = at("11:50:00") }, Wake, Activity, ""},
	{"the log was purged", func(f *Facts) { f.Use = activity.Use{} }, Keep, Asleep, ""},
	{"a lease ends now", leased("11:50:00", "12:00:00"), Keep, Asleep, ""},
	{"its mark is lost, and it was used before", markLost, Wake, Activity, ""},
	{"its mark is lost, and it was never used", together(markLost, func(f *Facts) { f.Use = activity.Use{} }), Keep, Asleep, ""},

	{"`wake-on-activity` is `false`: pinged", together(byCommand, pinged("11:50:00")), Keep, Asleep, ""},
	{"`wake-on-activity` is `false`: leased", together(byCommand, leased("11:50:00", "13:00:00")), Keep, Asleep, ""},
	{"`wake-on-activity` is `false`: a window is open", together(byCommand, keepWarm("0 9 * * * for 9h")), Wake, KeepWarm, "18:00:00"},
	{"`wake-on-activity` is `false`: a ping before the sleep that it did not know", together(byCommand, pinged("11:29:59")), Wake, Activity, ""},
	{"`wake-on-activity` is `false`: a ping that crossed the sleep", together(byCommand, pinged("11:30:00")), Wake, Activity, ""},
	{"`wake-on-activity` is `false`: a ping one second after the sleep", together(byCommand, pinged("11:30:01")), Keep, Asleep, ""},
	{"`wake-on-activity` is `false`: a lease that crossed the sleep", together(byCommand, leased("11:30:00", "13:00:00")), Wake, Leased, "13:00:00"},
	{"`wake-on-activity` is `false`: its mark is lost", together(byCommand, markLost), Keep, Asleep, ""},
}

// A server at zero wakes at the first instant at which a reason holds, and not at the last.
func TestDecideAsleepAtTheEdges(t *testing.T) {
	for _, r := range asleepEdges {
		r.check(t, r.name, sleeping(r.fact))
	}
}

// Every reason and every action of the code is a row of the tables, and so of the documentation.
func TestTablesAreComplete(t *testing.T) {
	seen := map[string]bool{string(Ordered): true} // at zero: see TestDecideWake
	for _, rows := range [][]row{awakeRules, sleepRules, asleepRules} {
		for _, r := range rows {
			seen[string(r.reason)], seen[string(r.action)] = true, true
		}
	}
	file, err := goparser.ParseFile(token.NewFileSet(), "decide.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && (kind.Name == "Reason" || kind.Name == "Action") {
			found++
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil || !seen[value] {
				t.Errorf("%s %q is in no table", kind.Name, value)
			}
		}
		return true
	})
	if found < 20 {
		t.Errorf("found only %d reasons and actions in decide.go", found)
	}
}
