package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// part runs until its context is done, or fails.
type part func(context.Context) error

// operate runs all parts. When ctx is done, or a part fails, the parts that take orders end first,
// and then those that they need to finish.
func operate(ctx context.Context, needed, taking []part) error {
	lower, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	upper, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := func(group *errgroup.Group, ctx context.Context, run part) {
		group.Go(func() error {
			err := run(ctx)
			if err != nil {
				cancel()
			}
			return err
		})
	}
	var base, front errgroup.Group
	for _, run := range needed {
		begin(&base, lower, run)
	}
	for _, run := range taking {
		begin(&front, upper, run)
	}
	err := front.Wait()
	stop()
	return errors.Join(err, base.Wait())
}
