package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/scaler/report"
)

// span is which report is asked for.
type span struct {
	namespace string // empty: all
	from, to  time.Time
}

// lastReport is the report that was made last: its other pages will be asked for.
type lastReport struct {
	mu     sync.Mutex
	span   span
	report report.Report
}

// report answers with as many servers as fit into one message, and says where the next page begins.
func (a *API) report(ctx context.Context, r micro.Request) error {
	asked, after, limit, err := a.readReport(r)
	if err != nil {
		return err
	}
	all, err := a.makeReport(ctx, asked, after != (wire.ID{}))
	if err != nil {
		return err
	}
	page := wire.Report{From: all.From, To: all.To, Servers: []wire.ReportRow{}, Total: reportRow(all.Total)}
	free := room(a.nc.MaxPayload() - 2*pageRoom) // for the total, too
	last := ""
	for _, server := range all.After(after) {
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

// readReport reads which report is asked for, from its subject and payload.
func (a *API) readReport(r micro.Request) (asked span, after wire.ID, limit int, err error) {
	if asked.namespace, err = a.namespace(r); err != nil {
		return asked, after, 0, err
	}
	over, request, after, err := wire.ReadReportRequest(r.Data())
	if err != nil {
		return asked, after, 0, err
	}
	now := a.config.Servers.Now().UTC()
	if asked.to = request.To; asked.to.IsZero() {
		asked.to = now
	}
	if asked.to.After(now.Add(event.ClocksApart)) { // another replica may have named it
		return asked, after, 0, fmt.Errorf("%w: to %s is in the future",
			wire.ErrOutOfRange, asked.to.Format(time.RFC3339Nano))
	}
	asked.from = asked.to.Add(-over)
	return asked, after, request.Limit, nil
}

// makeReport makes a report. The next page of the report that was made last needs no event to be
// read again.
func (a *API) makeReport(ctx context.Context, asked span, next bool) (report.Report, error) {
	a.last.mu.Lock()
	known, made := a.last.span, a.last.report
	a.last.mu.Unlock()
	if next && known == asked {
		return made, nil
	}
	servers, err := a.config.Servers.List(scaler.Filter{Namespace: asked.namespace})
	if err != nil {
		return report.Report{}, err
	}
	would := a.config.Servers.WouldBeAsleep(servers)
	types := make([]string, len(report.Types))
	for i, t := range report.Types {
		types[i] = string(t)
	}
	aggregate := report.Aggregate{}
	err = a.readEvents(ctx, a.config.Subjects.Events(wire.ID{Namespace: asked.namespace}), asked.from, types,
		func(e wire.Event) { aggregate.Add(event.FromWire(e)) })
	if err != nil {
		return report.Report{}, err
	}
	made = aggregate.Report(servers, would, asked.from, asked.to)
	a.last.mu.Lock()
	defer a.last.mu.Unlock()
	a.last.span, a.last.report = asked, made
	return made, nil
}

func reportRow(row report.Row) wire.ReportRow {
	return wire.ReportRow{
		Namespace: row.Server.Namespace, Name: row.Server.Name, Gone: row.Gone,
		Asleep: reportedSleep(row.Asleep), WouldBeAsleep: reportedSleep(row.WouldBeAsleep),
		Sleeps: row.Sleeps, WouldSleeps: row.WouldSleeps, Wakes: row.Wakes,
		WakeP50Seconds: rounded(row.WakeP50.Seconds()), WakeP95Seconds: rounded(row.WakeP95.Seconds()),
		AutomaticSleeps: row.Automatic, MisSleeps: row.MisSleeps,
		MisSleepRate: rounded(float64(row.MisSleeps) / float64(max(1, row.Automatic))),
	}
}

func reportedSleep(s report.Sleep) wire.ReportedSleep {
	return wire.ReportedSleep{
		Seconds:             s.Seconds,
		CPUCoreHours:        hours(s.MilliCPUSeconds, 1000),
		MemoryGiBHours:      hours(s.ByteSeconds, 1<<30),
		CPUMillicoreSeconds: s.MilliCPUSeconds, MemoryByteSeconds: s.ByteSeconds,
	}
}

// hours turns seconds of small parts into hours of the whole, for people.
func hours(partSeconds *big.Int, parts int64) float64 {
	h, _ := new(big.Rat).SetFrac(partSeconds, big.NewInt(parts*3600)).Float64()
	return rounded(h)
}

// rounded has three decimals.
func rounded(x float64) float64 { return math.Round(1000*x) / 1000 }
