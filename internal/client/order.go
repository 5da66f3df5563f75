package client

import (
	"context"
	"time"

	"idle-scaler/internal/wire"
)

// Start starts a server, and returns at its first ready replica, or after wait with code 504. With
// wait 0 it returns as soon as that is written.
func (c *Client) Start(ctx context.Context, id wire.ID, wait time.Duration, by wire.Sender) (wire.Answer, error) {
	return c.command(ctx, wire.VerbStart, id, wait, struct {
		Wait string `json:"wait"`
		wire.Sender
	}{wait.String(), by})
}

// Stop stops a server until it is started or scaled; force ends its pods at once.
func (c *Client) Stop(ctx context.Context, id wire.ID, force bool, by wire.Sender) (wire.Answer, error) {
	return c.command(ctx, wire.VerbStop, id, 0, struct {
		Force bool `json:"force"`
		wire.Sender
	}{force, by})
}

// Scale gives a server replicas, and returns when all are ready, or after wait with code 504. With
// wait 0 it returns as soon as that is written.
func (c *Client) Scale(ctx context.Context, id wire.ID, replicas int, wait time.Duration, by wire.Sender) (wire.Answer, error) {
	return c.command(ctx, wire.VerbScale, id, wait, struct {
		Replicas int    `json:"replicas"`
		Wait     string `json:"wait"`
		wire.Sender
	}{replicas, wait.String(), by})
}

// Hold keeps a server awake, or asleep, until a time that is written as policy.ParseUntil reads it.
func (c *Client) Hold(ctx context.Context, id wire.ID, asleep bool, until string, by wire.Sender) (wire.Answer, error) {
	payload := struct {
		AwakeUntil  string `json:"awake_until,omitempty"`
		AsleepUntil string `json:"asleep_until,omitempty"`
		wire.Sender
	}{Sender: by}
	if asleep {
		payload.AsleepUntil = until
	} else {
		payload.AwakeUntil = until
	}
	return c.command(ctx, wire.VerbHold, id, 0, payload)
}

// Release ends the hold of a server.
func (c *Client) Release(ctx context.Context, id wire.ID, by wire.Sender) (wire.Answer, error) {
	return c.command(ctx, wire.VerbRelease, id, 0, by)
}

// wakeTimeout is how long it may take to store the orders to start all servers: the daemon's 20 s,
// and a margin.
const wakeTimeout = 25 * time.Second

// answerMargin is how much longer than the daemon waits for its leader a client waits for the daemon, which has
// to check and store the command before, and says itself that no leader has answered.
const answerMargin = 10 * time.Second

func (c *Client) command(ctx context.Context, verb wire.Verb, id wire.ID, wait time.Duration, payload any) (a wire.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(wait, wire.AppliedWithin)+answerMargin)
	defer cancel()
	if err = wire.CheckID(id); err == nil {
		err = c.request(ctx, string(verb), id, payload, &a)
	}
	return a, err
}

// Pause keeps the daemon from putting to sleep a server, those of a namespace (an ID without a
// name), or any (the zero ID), until Resume is called for the same. It returns when no sleep is
// decided any more that does not know of it. The ID of the sender is not sent.
func (c *Client) Pause(ctx context.Context, scope wire.ID, by wire.Sender) (wire.PauseAnswer, error) {
	return c.setPause(ctx, "pause", scope, by)
}

// Resume ends a pause. One of more, or of fewer, servers stays. The ID of the sender is not sent.
func (c *Client) Resume(ctx context.Context, scope wire.ID, by wire.Sender) (wire.PauseAnswer, error) {
	return c.setPause(ctx, "resume", scope, by)
}

func (c *Client) setPause(ctx context.Context, verb string, scope wire.ID, by wire.Sender) (a wire.PauseAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err = wire.CheckScope(scope); err == nil {
		err = c.request(ctx, verb, scope, wire.Sender{Actor: by.Actor, Reason: by.Reason}, &a)
	}
	return a, err
}

// Wake starts every server of a namespace, or of all when it is empty, that the daemon has put to
// sleep by itself. It returns when the orders to start them are stored.
func (c *Client) Wake(ctx context.Context, namespace string, by wire.Sender) (a wire.WakeAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	scope := wire.ID{Namespace: namespace}
	if err = wire.CheckScope(scope); err == nil {
		err = c.request(ctx, "wake", scope, by, &a)
	}
	return a, err
}
