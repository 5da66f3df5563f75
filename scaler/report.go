package scaler

import (
	"math/big"
	"slices"
	"time"
)

// Report is what sleep came to between two instants.
type Report struct {
	From, To time.Time
	Servers  []ReportRow // in order of namespace and name
	Total    ReportRow   // its Server is zero
}

// ReportRow is what sleep came to of one server, or of all.
type ReportRow struct {
	Server        ID
	Gone          bool // there is no such server any more, so that what it had requested is not known
	Asleep        Rest // at zero replicas
	WouldBeAsleep Rest // were it not for dry-run

	Sleeps, WouldSleeps, Wakes int

	WakeP50, WakeP95 time.Duration // from the write to the first ready replica; zero when none got ready

	Automatic int // of all sleeps, would-be ones too, those that nobody ordered
	MisSleeps int // of these, those that were followed by demand within MisSleepWithin
}

// Rest is a time at zero replicas, and what the replicas had requested that did not run meanwhile. All of it is in whole numbers, so that
// the servers add up to the total: instants are cut to whole seconds.
type Rest struct {
	Seconds         int64
	MilliCPUSeconds *big.Int
	ByteSeconds     *big.Int
}

// After returns the rows of the servers that come after one; all of them after the zero ID.
func (r Report) After(id ID) []ReportRow {
	i, found := slices.BinarySearchFunc(r.Servers, id, func(row ReportRow, id ID) int { return CompareIDs(row.Server, id) })
	if found {
		i++
	}
	return r.Servers[i:]
}

func newRow(id ID) ReportRow {
	return ReportRow{Server: id, Asleep: newRest(), WouldBeAsleep: newRest()}
}

func newRest() Rest { return Rest{MilliCPUSeconds: new(big.Int), ByteSeconds: new(big.Int)} }

// add adds a time in which replicas did not run, of which each requests something.
func (r *Rest) add(seconds int64, replicas int, each Resources) {
	r.Seconds += seconds
	span := new(big.Int).Mul(big.NewInt(seconds), big.NewInt(int64(replicas)))
	r.MilliCPUSeconds.Add(r.MilliCPUSeconds, new(big.Int).Mul(span, big.NewInt(each.MilliCPU)))
	r.ByteSeconds.Add(r.ByteSeconds, span.Mul(span, big.NewInt(each.Memory)))
}

func (r *Rest) sum(other Rest) {
	r.Seconds += other.Seconds
	r.MilliCPUSeconds.Add(r.MilliCPUSeconds, other.MilliCPUSeconds)
	r.ByteSeconds.Add(r.ByteSeconds, other.ByteSeconds)
}

func (row *ReportRow) sum(other ReportRow) {
	row.Asleep.sum(other.Asleep)
	row.WouldBeAsleep.sum(other.WouldBeAsleep)
	row.Sleeps += other.Sleeps
	row.WouldSleeps += other.WouldSleeps
	row.Wakes += other.Wakes
	row.Automatic += other.Automatic
	row.MisSleeps += other.MisSleeps
}

// percentile returns the smallest of sorted durations that is at least as long as so many of a hundred of them.
func percentile(sorted []time.Duration, hundredths int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*hundredths+99)/100-1]
}

// Report makes a report of what was added, which should begin at from and go on to now, also beyond to: what is told later may say
// how it was before. Servers are those that there are now; of those that were is told what their events say. Since when servers would be
// asleep is what Scaler.WouldBeAsleep says.
func (l *Ledger) Report(servers []*Server, wouldBeAsleep map[ID]time.Time, from, to time.Time) Report {
	r := Report{From: from, To: to, Total: newRow(ID{})}
	there := make(map[ID]*Server, len(servers))
	for _, server := range servers {
		there[server.ID] = server
	}
	var took []time.Duration
	add := func(id ID, server *Server) {
		a := account{row: newRow(id), server: server, wouldBeAsleep: wouldBeAsleep[id], from: from, to: to}
		a.row.Gone = server == nil
		a.settle(l.accounts[id])
		if server == nil && len(a.took) == 0 && a.row.Sleeps+a.row.WouldSleeps+a.row.Wakes == 0 && a.row.Asleep.Seconds+a.row.WouldBeAsleep.Seconds == 0 {
			return // what is known of it is not of this time
		}
		r.Servers = append(r.Servers, a.row)
		r.Total.sum(a.row)
		took = append(took, a.took...)
	}
	for id, server := range there {
		add(id, server)
	}
	for id := range l.accounts {
		if there[id] == nil {
			add(id, nil)
		}
	}
	slices.SortFunc(r.Servers, func(a, b ReportRow) int { return CompareIDs(a.Server, b.Server) })
	slices.Sort(took)
	r.Total.WakeP50, r.Total.WakeP95 = percentile(took, 50), percentile(took, 95)
	return r
}
