package client

import (
	"context"
	"time"

	"idle-scaler/internal/wire"
)

// command is the payload of every command. An empty field is not sent.
type command struct {
	Wait        string `json:"wait,omitempty"`
	Replicas    *int   `json:"replicas,omitempty"`
	Force       bool   `json:"force,omitempty"`
	AwakeUntil  string `json:"awake_until,omitempty"`
	AsleepUntil string `json:"asleep_until,omitempty"`
	wire.Sender
}

func (c *Client) do(ctx context.Context, v wire.Verb, id wire.ID, p command, wait time.Duration) (wire.Answer, error) {
	return request[wire.Answer](ctx, c, string(v), id, wire.CheckID, p, wait)
}

// Start starts a server with the replicas from before its sleep. It returns when the first replica
// is ready; when that takes longer than wait, with code 504. With wait 0 it returns when the start
// is written. The order stays in force when Start returns an error of code 504, or when ctx ends.
func (c *Client) Start(ctx context.Context, id wire.ID, wait time.Duration, by wire.Sender) (wire.Answer, error) {
	return c.do(ctx, wire.VerbStart, id, command{Wait: wait.String(), Sender: by}, wait)
}

// Stop stops a server until it is started or scaled. Force ends its pods without their grace
// period.
func (c *Client) Stop(ctx context.Context, id wire.ID, force bool, by wire.Sender) (wire.Answer, error) {
	return c.do(ctx, wire.VerbStop, id, command{Force: force, Sender: by}, 0)
}

// Scale gives a server a number of replicas; 0 stops it. It waits like [Client.Start], but for all
// replicas.
func (c *Client) Scale(
	ctx context.Context, id wire.ID, replicas int, wait time.Duration, by wire.Sender,
) (wire.Answer, error) {
	return c.do(ctx, wire.VerbScale, id, command{Replicas: &replicas, Wait: wait.String(), Sender: by}, wait)
}

// Hold keeps a server awake, or asleep, until a time: a duration ("2h"), a time of day in the zone
// of the server ("18:00"), or an instant ("2026-01-02T18:00:00Z").
func (c *Client) Hold(ctx context.Context, id wire.ID, asleep bool, until string, by wire.Sender) (wire.Answer, error) {
	if asleep {
		return c.do(ctx, wire.VerbHold, id, command{AsleepUntil: until, Sender: by}, 0)
	}
	return c.do(ctx, wire.VerbHold, id, command{AwakeUntil: until, Sender: by}, 0)
}

// Release ends the hold of a server.
func (c *Client) Release(ctx context.Context, id wire.ID, by wire.Sender) (wire.Answer, error) {
	return c.do(ctx, wire.VerbRelease, id, command{Sender: by}, 0)
}

// Pause keeps a server, the servers of a namespace (an ID without a name), or all servers (the zero
// ID) from being put to sleep, until [Client.Resume] is called with the same scope. It returns when
// no decision without knowledge of the pause can put any of them to sleep. The ID of the sender is
// not sent.
func (c *Client) Pause(ctx context.Context, scope wire.ID, by wire.Sender) (wire.PauseAnswer, error) {
	by.ID = ""
	return request[wire.PauseAnswer](ctx, c, "pause", scope, wire.CheckScope, by, 0)
}

// Resume ends the pause of a scope. A pause of a wider or a narrower scope stays. The ID of the
// sender is not sent.
func (c *Client) Resume(ctx context.Context, scope wire.ID, by wire.Sender) (wire.PauseAnswer, error) {
	by.ID = ""
	return request[wire.PauseAnswer](ctx, c, "resume", scope, wire.CheckScope, by, 0)
}

// Wake starts every server of a namespace (of all, if it is empty) that the daemon itself put to
// sleep. It returns when the orders to start them are stored, not when the servers are ready.
func (c *Client) Wake(ctx context.Context, namespace string, by wire.Sender) (wire.WakeAnswer, error) {
	return request[wire.WakeAnswer](ctx, c, "wake", wire.ID{Namespace: namespace}, wire.CheckScope, by, 0)
}
