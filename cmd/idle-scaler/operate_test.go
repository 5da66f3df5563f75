package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary keeps in which order parts end.
type diary struct {
	mu    sync.Mutex
	ended []string
}

// part returns a part that takes a while to finish after the end of its context.
func (d *diary) part(name string, finish time.Duration) part {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(finish)
		d.note(name)
		return nil
	}
}

// failing returns a part that fails.
func (d *diary) failing(name string, after time.Duration, err error) part {
	return func(context.Context) error {
		time.Sleep(after)
		d.note(name)
		return err
	}
}

func (d *diary) note(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, name)
}

// The end of the context, or the first part that fails, ends all parts. The parts that take orders
// end before the parts that they need, so they can finish their work.
func TestOperate(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name      string
		stopAfter time.Duration
		extra     func(d *diary) (needed, taking []part)
		want      []string
		wantErr   error
		wantTook  time.Duration
	}{
		{
			"the context ends", time.Minute, nil,
			[]string{"api", "sessions", "log", "cache"},
			nil, time.Minute + 10*time.Second + 2*time.Second,
		},
		{
			"a part that takes orders fails", time.Hour,
			func(d *diary) (_, taking []part) { return nil, []part{d.failing("election", time.Second, broken)} },
			[]string{"election", "api", "sessions", "log", "cache"},
			broken, time.Second + 10*time.Second + 2*time.Second,
		},
		{
			"a needed part fails", time.Hour,
			func(d *diary) (needed, _ []part) { return []part{d.failing("health", time.Second, broken)}, nil },
			[]string{"health", "api", "sessions", "log", "cache"},
			broken, time.Second + 10*time.Second + 2*time.Second,
		},
		{
			"a needed part has nothing to do", time.Minute,
			func(d *diary) (needed, _ []part) { return []part{d.failing("no health", 0, nil)}, nil },
			[]string{"no health", "api", "sessions", "log", "cache"},
			nil, time.Minute + 10*time.Second + 2*time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				needed := []part{d.part("cache", 2*time.Second), d.part("log", time.Second)}
				taking := []part{d.part("api", time.Second), d.part("sessions", 10*time.Second)}
				if test.extra != nil {
					n, f := test.extra(&d)
					needed, taking = append(needed, n...), append(taking, f...)
				}
				ctx, stop := context.WithTimeout(t.Context(), test.stopAfter)
				defer stop()
				began := time.Now()
				err := operate(ctx, needed, taking)
				if !errors.Is(err, test.wantErr) || test.wantErr == nil && err != nil {
					t.Errorf("got the error %v, want %v", err, test.wantErr)
				}
				if took := time.Since(began); took != test.wantTook {
					t.Errorf("it took %s, want %s", took, test.wantTook)
				}
				if !slices.Equal(d.ended, test.want) {
					t.Errorf("ended in the order %q, want %q", d.ended, test.want)
				}
			})
		})
	}
}

// Logs are JSON where no terminal shows them, and have no colours there. The level holds
// everywhere.
func TestLogger(t *testing.T) {
	for _, test := range []struct {
		format string
		level  slog.Level
		json   bool
		lines  int
	}{
		{"auto", slog.LevelInfo, true, 2},
		{"auto", slog.LevelDebug, true, 3},
		{"json", slog.LevelWarn, true, 1},
		{"text", slog.LevelInfo, false, 2},
		{"text", slog.LevelError, false, 0},
	} {
		var out bytes.Buffer
		logger := newLogger(&out, test.format, test.level)
		logger.Debug("looked", "server", "a/b")
		logger.Info("slept", "server", "a/b")
		logger.Warn("late", "server", "a/b")
		if got := strings.Count(out.String(), "\n"); got != test.lines {
			t.Errorf("%s %s: got %d lines, want %d:\n%s", test.format, test.level, got, test.lines, &out)
		}
		for line := range strings.Lines(out.String()) {
			if json.Valid([]byte(line)) != test.json || strings.Contains(line, "\x1b") || !strings.Contains(line, "a/b") {
				t.Errorf("%s %s: got %q", test.format, test.level, line)
			}
		}
	}

	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Logf("no terminal to test with: %v", err)
		return
	}
	defer func() { _ = terminal.Close() }()
	isJSON := func(out io.Writer, format string) bool {
		_, is := newLogger(out, format, slog.LevelInfo).Handler().(*slog.JSONHandler)
		return is
	}
	if !isTerminal(terminal) || isJSON(terminal, "auto") || !isJSON(terminal, "json") {
		t.Error("on a terminal auto should be text, and json JSON")
	}
}
