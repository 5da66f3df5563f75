package main

import (
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
)

// newLogger writes coloured text to a terminal, and JSON to anything else, if the format is auto.
func newLogger(out io.Writer, format string, level slog.Level) *slog.Logger {
	terminal := isTerminal(out)
	if format == "text" || format == "auto" && terminal {
		options := &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal}
		return slog.New(tint.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
}
