package report

import (
	"maps"
	"math/big"
	"slices"
	"sort"
	"time"

	"idle-scaler/scaler"
)

// Report says what sleep came to between two instants.
type Report struct {
	From, To time.Time
	Servers  []Row // in order of namespace and name
	Total    Row   // its Server is zero
}

// Row holds the figures of one server, or of all.
type Row struct {
	Server        scaler.ID
	Gone          bool  // the server was deleted: nobody knows what its pods had requested
	Asleep        Sleep // at zero replicas
	WouldBeAsleep Sleep // without dry-run it would have been at zero

	Sleeps, WouldSleeps, Wakes int

	WakeP50, WakeP95 time.Duration // from the write to the first ready replica; zero when none got ready

	Automatic int // sleeps and would-be sleeps that nobody ordered
	MisSleeps int // those of them that demand followed within scaler.MisSleepWithin

	took []time.Duration // to ready, by each wake
}

// Sleep is a time at zero replicas, and what the replicas that did not run had requested. The rows
// add up to the total, because all sums are whole numbers and every instant is cut to its second.
//
// Sums of requests do not fit into 64 bits: 14 TiB that sleep for a week have 2^63 byte-seconds,
// and anybody may write any request. The rest fits: 2^31 replicas, the most that a Deployment can
// have, have less than 2^51 replica-seconds in a week.
type Sleep struct {
	Seconds         int64
	MilliCPUSeconds *big.Int
	ByteSeconds     *big.Int
}

// Report makes the report of the time between two instants. The events should begin at from, and
// may go on after to, because a later event can say how it was before. Servers are all that exist
// now. WouldBeAsleep is from Scaler.WouldBeAsleep.
func (a Aggregate) Report(servers []*scaler.Server, wouldBeAsleep map[scaler.ID]time.Time, from, to time.Time) Report {
	none := newSleep(0, 0, scaler.Resources{})
	r := Report{From: from, To: to, Total: Row{Asleep: none, WouldBeAsleep: none}}
	known := make(map[scaler.ID]*scaler.Server, len(servers))
	for id := range a {
		known[id] = nil // gone, unless it is one of the servers
	}
	for _, server := range servers {
		known[server.ID] = server
	}
	for _, id := range slices.SortedFunc(maps.Keys(known), scaler.CompareIDs) {
		row := r.row(id, known[id], a[id], wouldBeAsleep[id])
		if row.Gone && row.empty() {
			continue // its events are not of this time
		}
		r.Servers = append(r.Servers, row)
		r.Total.add(row)
	}
	r.Total.measure()
	return r
}

// After returns the rows of the servers that come after one; all of them after the zero ID.
func (r Report) After(id scaler.ID) []Row {
	comes := func(i int) bool { return scaler.CompareIDs(r.Servers[i].Server, id) > 0 }
	return r.Servers[sort.Search(len(r.Servers), comes):]
}

func (row *Row) empty() bool {
	return row.Sleeps+row.WouldSleeps+row.Wakes+len(row.took) == 0 && row.Asleep.Seconds+row.WouldBeAsleep.Seconds == 0
}

func (row *Row) add(other Row) {
	row.Asleep = row.Asleep.plus(other.Asleep)
	row.WouldBeAsleep = row.WouldBeAsleep.plus(other.WouldBeAsleep)
	row.Sleeps += other.Sleeps
	row.WouldSleeps += other.WouldSleeps
	row.Wakes += other.Wakes
	row.Automatic += other.Automatic
	row.MisSleeps += other.MisSleeps
	row.took = append(row.took, other.took...)
}

// measure sets the percentiles.
func (row *Row) measure() {
	slices.Sort(row.took)
	row.WakeP50, row.WakeP95 = percentile(row.took, 50), percentile(row.took, 95)
}

// percentile returns the smallest of sorted durations that so many of a hundred do not exceed.
func percentile(sorted []time.Duration, hundredths int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*hundredths+99)/100-1]
}

func newSleep(seconds, replicaSeconds int64, each scaler.Resources) Sleep {
	n := big.NewInt(replicaSeconds)
	return Sleep{seconds, new(big.Int).Mul(n, big.NewInt(each.MilliCPU)), new(big.Int).Mul(n, big.NewInt(each.Memory))}
}

func (s Sleep) plus(other Sleep) Sleep {
	return Sleep{
		s.Seconds + other.Seconds,
		new(big.Int).Add(s.MilliCPUSeconds, other.MilliCPUSeconds),
		new(big.Int).Add(s.ByteSeconds, other.ByteSeconds),
	}
}
