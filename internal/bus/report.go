package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/scaler"
)

// Report is what sleep came to in a span of time, for each server and for all.
type Report struct {
	From    time.Time   `json:"from"`
	To      time.Time   `json:"to"`
	Servers []ReportRow `json:"servers"`
	Total   ReportRow   `json:"total"`          // of all servers, also of those on other pages
	Next    string      `json:"next,omitempty"` // to be sent as "after", with the same "to", to get what follows; empty on the last page
}

// ReportRow is what sleep came to of one server, or of all.
type ReportRow struct {
	Namespace       string        `json:"namespace,omitempty"`
	Name            string        `json:"name,omitempty"`
	Gone            bool          `json:"gone,omitempty"`  // there is no such server any more: what it had requested is not known, and not counted
	Asleep          ReportedSleep `json:"asleep"`          // at zero replicas
	WouldBeAsleep   ReportedSleep `json:"would_be_asleep"` // were it not for dry-run
	Sleeps          int           `json:"sleeps"`
	WouldSleeps     int           `json:"would_sleeps"`
	Wakes           int           `json:"wakes"`
	WakeP50Seconds  float64       `json:"wake_p50_seconds,omitempty"` // from the write to the first ready replica
	WakeP95Seconds  float64       `json:"wake_p95_seconds,omitempty"`
	AutomaticSleeps int           `json:"automatic_sleeps"` // of sleeps and would-be sleeps, those that nobody has ordered
	MisSleeps       int           `json:"mis_sleeps"`       // of these, those that were followed by demand within 2 minutes
	MisSleepRate    float64       `json:"mis_sleep_rate"`   // the one by the other, 0 to 1
}

// ReportedSleep is a time at zero replicas, and what was requested by the replicas that did not run meanwhile.
type ReportedSleep struct {
	Seconds             int64    `json:"seconds"`
	CPUCoreHours        float64  `json:"cpu_core_hours"` // for people
	MemoryGiBHours      float64  `json:"memory_gib_hours"`
	CPUMillicoreSeconds *big.Int `json:"cpu_millicore_seconds"` // exactly
	MemoryByteSeconds   *big.Int `json:"memory_byte_seconds"`
}

// reportAsked is what a report is asked to be.
type reportAsked struct {
	namespace string // empty: all
	from, to  time.Time
}

// kept is a report that was made.
type kept struct {
	asked  reportAsked
	report scaler.Report
}

// report answers with as many servers as fit into one message, and says where the next page begins.
func (a *API) report(ctx context.Context, r micro.Request) error {
	asked, after, limit, err := a.readReport(r)
	if err != nil {
		return err
	}
	servers, err := a.config.Servers.List(scaler.Filter{Namespace: asked.namespace})
	if err != nil {
		return err
	}
	report, err := a.past.report(ctx, asked, servers, a.config.Servers.WouldBeAsleep(servers), after != (scaler.ID{}))
	if err != nil {
		return err
	}
	page := Report{From: report.From, To: report.To, Servers: []ReportRow{}, Total: reportRow(report.Total)}
	free := room(a.nc.MaxPayload() - 2*pageRoom) // for the total, too
	last := ""
	for _, server := range report.After(after) {
		row := reportRow(server)
		encoded, err := json.Marshal(row) // to know how long it is
		if err != nil {
			return fmt.Errorf("encode the report of %s: %w", server.Server, err)
		}
		fits := free.take(encoded)
		if n := len(page.Servers); n > 0 && (!fits || limit > 0 && n == limit) {
			page.Next = last
			break
		}
		page.Servers = append(page.Servers, row)
		last = server.Server.String()
	}
	return a.answer(r, page, nil)
}

// readReport reads what a report is to be, from its subject and payload.
func (a *API) readReport(r micro.Request) (asked reportAsked, after scaler.ID, limit int, err error) {
	if asked.namespace, err = a.namespace(r); err != nil {
		return asked, after, 0, err
	}
	over, to, afterText := 24*time.Hour, "", ""
	has, err := decode(r.Data(), fields{"over": &over, "to": &to, "limit": &limit, "after": &afterText})
	if err == nil {
		err = checkSpan("over", over)
	}
	if err == nil {
		err = checkLimit(has["limit"], limit)
	}
	if err == nil {
		after, err = readAfter(afterText)
	}
	if err != nil {
		return asked, after, 0, err
	}
	now := time.Now().UTC()
	asked.to = now
	if has["to"] {
		if asked.to, err = time.Parse(time.RFC3339Nano, to); err != nil {
			return asked, after, 0, invalid("to %q: write an instant like %q", shorten(to), "2026-01-02T15:04:05Z")
		}
		if asked.to = asked.to.UTC(); asked.to.After(now.Add(clocksApart)) { // another replica may have named it
			return asked, after, 0, fmt.Errorf("%w: to %s is in the future", scaler.ErrOutOfRange, to)
		}
	}
	asked.from = asked.to.Add(-over)
	return asked, after, limit, nil
}

// report makes a report. Of one that was just made the next page needs nothing to be read again.
func (a *archive) report(ctx context.Context, asked reportAsked, servers []*scaler.Server, wouldBeAsleep map[scaler.ID]time.Time, again bool) (scaler.Report, error) {
	a.mu.Lock()
	last := a.last
	a.mu.Unlock()
	if again && last.asked == asked {
		return last.report, nil
	}
	ledger := scaler.NewLedger()
	if err := a.read(ctx, a.subjects.Events(scaler.ID{Namespace: asked.namespace}), asked.from, scaler.LedgerTypes, ledger.Add); err != nil {
		return scaler.Report{}, err
	}
	last = kept{asked, ledger.Report(servers, wouldBeAsleep, asked.from, asked.to)}
	a.mu.Lock()
	a.last = last
	a.mu.Unlock()
	return last.report, nil
}

func reportRow(row scaler.ReportRow) ReportRow {
	rate := 0.0
	if row.Automatic > 0 {
		rate = rounded(float64(row.MisSleeps) / float64(row.Automatic))
	}
	return ReportRow{
		Namespace: row.Server.Namespace, Name: row.Server.Name, Gone: row.Gone,
		Asleep: reportedSleep(row.Asleep), WouldBeAsleep: reportedSleep(row.WouldBeAsleep),
		Sleeps: row.Sleeps, WouldSleeps: row.WouldSleeps, Wakes: row.Wakes,
		WakeP50Seconds: rounded(row.WakeP50.Seconds()), WakeP95Seconds: rounded(row.WakeP95.Seconds()),
		AutomaticSleeps: row.Automatic, MisSleeps: row.MisSleeps, MisSleepRate: rate,
	}
}

func reportedSleep(r scaler.Rest) ReportedSleep {
	return ReportedSleep{
		Seconds:             r.Seconds,
		CPUCoreHours:        hours(r.MilliCPUSeconds, 1000),
		MemoryGiBHours:      hours(r.ByteSeconds, 1<<30),
		CPUMillicoreSeconds: r.MilliCPUSeconds, MemoryByteSeconds: r.ByteSeconds,
	}
}

// hours turns seconds of small parts into hours of the whole, for people.
func hours(partSeconds *big.Int, parts int64) float64 {
	h, _ := new(big.Rat).SetFrac(partSeconds, big.NewInt(parts*3600)).Float64()
	return rounded(h)
}

// rounded has three decimals.
func rounded(x float64) float64 { return math.Round(1000*x) / 1000 }

// Report says what sleep came to of the servers of a namespace, or of all when it is empty, over a time until now.
func (c *Client) Report(ctx context.Context, namespace string, over time.Duration) (Report, error) {
	var all Report
	asked := struct {
		Over  string    `json:"over,omitempty"`
		To    time.Time `json:"to,omitzero"`
		After string    `json:"after,omitempty"`
	}{Over: span(over)}
	for {
		var page Report
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := c.request(ctx, "report", scaler.ID{Namespace: namespace}, asked, &page)
		cancel()
		if err != nil {
			return Report{}, err
		}
		page.Servers = append(all.Servers, page.Servers...)
		all = page
		if asked.To, asked.After = page.To, page.Next; page.Next == "" {
			return all, nil
		}
	}
}
