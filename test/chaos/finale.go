package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// end lets everything come to rest, wakes what sleeps once more, and ends.
func (s *stage) end(ctx context.Context) error {
	s.setClocksRight()
	err := s.await(ctx, "rest", 5*time.Minute, s.unrest)
	s.record.Quiet = time.Now()
	if err != nil {
		s.Log("%v", err) // the checker will say what is wrong
	}
	pause(ctx, 4*time.Second) // for the last metrics, which are read once a second
	s.record.Rest = time.Now()
	wanted := s.wakeAll(ctx)
	calm := s.calm()
	kept := make(map[string]bool)
	keep := func(name string) {
		if !kept[name] {
			kept[name] = true
			s.work.lease(ctx, s.record.Servers[name], "keeper", time.Hour) // another holder: the lease that has to wake it is not ended
		}
	}
	err = s.await(ctx, "everybody to be awake", max(time.Until(calm), 0)+2*wakeWithin, func() (missing string) {
		for _, name := range wanted {
			if s.record.now(name).Replicas > 0 {
				keep(name) // or it would sleep again while the daemons end, and nobody be left to tell it
			} else {
				missing = name + " is asleep"
			}
		}
		return missing
	})
	if err != nil {
		s.Log("%v", err)
	}
	for _, name := range sorted(s.record.Servers) {
		keep(name)
	}
	pause(ctx, 2*time.Second) // for those that were about to sleep
	for _, d := range s.daemons {
		if code := d.stop(); code != 0 {
			s.record.exit(Exit{d.name, time.Now(), code, "asked to end, it did so badly: " + lastLines(d.process.log)})
		}
	}
	pause(ctx, 3*time.Second) // for the last versions
	s.record.End = time.Now()
	return errors.Join(s.readEvents(ctx), s.readLogs())
}

// setClocksRight starts the daemons with a wrong clock again with a right one: the others would be early with the rest, or minutes late.
func (s *stage) setClocksRight() {
	f := &faults{stage: s}
	for _, d := range s.daemons {
		if d.clock() != 0 {
			mended := f.note("SIGKILL", d.name)
			d.kill()
			d.setClock(0)
			d.up()
			mended()
		}
	}
}

// unrest says what is still going on, empty when nothing is.
func (s *stage) unrest() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	stream, err := s.work.js.Stream(ctx, "CORTEX_MCP_COMMANDS")
	if err != nil {
		return err.Error()
	}
	if s.record.Left = stream.CachedInfo().State.Msgs; s.record.Left > 0 {
		return fmt.Sprintf("%d commands are not finished", s.record.Left)
	}
	for _, name := range sorted(s.record.Servers) {
		v := s.record.now(name)
		if v.Deleted {
			return name + " is gone"
		}
		if v.Replicas > 0 && s.record.Servers[name].Kind != Paused && !v.contended() {
			return name + " is awake"
		}
	}
	return ""
}

// wakeAll uses all servers that sleep, some by a ping and some by a lease. It returns those that have to wake.
func (s *stage) wakeAll(ctx context.Context) (wanted []string) {
	random := rand.New(rand.NewPCG(s.Seed, 2))
	for _, name := range sorted(s.record.Servers) {
		server := s.record.Servers[name]
		if random.IntN(3) == 0 {
			s.work.lease(ctx, server, "last", time.Hour)
		} else {
			s.work.ping(ctx, server)
		}
		if v := s.record.now(name); v.Marks["asleep-because"] == "idle" && v.Writer == fieldManager {
			wanted = append(wanted, name)
		}
	}
	return wanted
}

// calm is from when on nothing is slow because of a fault.
func (s *stage) calm() (from time.Time) {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	for _, d := range s.record.disturbances() {
		if d.to.After(from) {
			from = d.to
		}
	}
	return from
}

// readEvents reads the whole event stream.
func (s *stage) readEvents(ctx context.Context) error {
	stream, err := s.work.js.Stream(ctx, "CORTEX_MCP_EVENTS")
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	for left := stream.CachedInfo().State.Msgs; left > 0; {
		m, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		left = meta.NumPending
		var e struct {
			ID, Type, Subject string
			Time              time.Time
			Data              struct {
				From, To             int
				Cause, Command, Text string
			}
		}
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			return fmt.Errorf("event %d: %w", meta.Sequence.Stream, err)
		}
		s.record.Told = append(s.record.Told, &Told{
			Server: strings.TrimPrefix(e.Subject, namespace+"/"), ID: e.ID, Type: strings.TrimPrefix(e.Type, "io.idle-scaler."),
			Cause: e.Data.Cause, Command: e.Data.Command, Text: e.Data.Text, From: e.Data.From, To: e.Data.To, At: e.Time, Stored: meta.Timestamp,
		})
	}
	return nil
}

// readLogs looks for panics in the logs of all lives of all daemons.
func (s *stage) readLogs() error {
	logs, err := filepath.Glob(filepath.Join(s.Dir, "daemon-*.log"))
	for _, log := range logs {
		file, e := os.Open(log)
		if e != nil {
			return e
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
				if strings.Contains(lines.Text(), bad) {
					s.record.Panics = append(s.record.Panics, filepath.Base(log)+": "+lines.Text())
				}
			}
		}
		err = errors.Join(err, lines.Err(), file.Close())
	}
	return err
}
