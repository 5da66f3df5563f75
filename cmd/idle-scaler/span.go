package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// span is a flag that takes a duration, in days too: 7d.
type span time.Duration

const day = 24 * time.Hour

func (s *span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * day
	}
	if err != nil || d <= 0 || d > 366*day {
		return errors.New(`write how long, like "24h" or "7d"`)
	}
	*s = span(d)
	return nil
}

func (s *span) String() string {
	if d := time.Duration(*s); d%day != 0 || d == 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", time.Duration(*s)/day)
}

func (s *span) Type() string { return "duration" }
