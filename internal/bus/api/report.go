package api

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"time"

	"idle-scaler/internal/bus/event"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/scaler/report"
)

// span is what a report is about.
type span struct {
	namespace string // empty: all
	from, to  time.Time
}

// lastReport is the report that was made last. Its sender will ask for the other pages.
type lastReport struct {
	span   span
	report report.Report
}

// report answers with as many servers as fit into one message, and says where the next page begins.
func (a *API) report(ctx context.Context, r request) error {
	over, asked, after, err := wire.ReadReportRequest(r.Data)
	if err != nil {
		return err
	}
	now := a.config.Servers.Now().UTC()
	if asked.To.IsZero() {
		asked.To = now
	}
	if asked.To.After(now.Add(event.ClocksApart)) { // another replica may have named it
		return fmt.Errorf("%w: to %s is in the future", wire.ErrOutOfRange, asked.To.Format(time.RFC3339Nano))
	}
	about := span{r.scope.Namespace, asked.To.Add(-over), asked.To}
	all, err := a.makeReport(ctx, about, after != (wire.ID{}))
	if err != nil {
		return err
	}
	rows := all.After(after)
	page := wire.Report{
		From: all.From, To: all.To, Total: reportRow(all.Total),
		Servers: fill(rows, asked.Limit, a.room(), reportRow),
	}
	if n := len(page.Servers); n < len(rows) {
		page.Next = rows[n-1].Server.String()
	}
	return a.answer(r, page, nil)
}

// makeReport makes a report. The next page of the last report needs no event to be read again.
func (a *API) makeReport(ctx context.Context, asked span, next bool) (report.Report, error) {
	if last := a.last.Load(); next && last != nil && last.span == asked {
		return last.report, nil
	}
	servers, err := a.config.Servers.List(scaler.Filter{Namespace: asked.namespace})
	if err != nil {
		return report.Report{}, err
	}
	would := a.config.Servers.WouldBeAsleep(servers)
	aggregate := report.Aggregate{}
	err = a.readEvents(ctx, wire.ID{Namespace: asked.namespace}, asked.from, report.Types,
		func(e wire.Event) { aggregate.Add(event.FromWire(e)) })
	if err != nil {
		return report.Report{}, err
	}
	made := aggregate.Report(servers, would, asked.from, asked.to)
	a.last.Store(&lastReport{asked, made})
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
