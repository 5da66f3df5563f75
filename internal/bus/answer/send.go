package answer

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
)

// Send sends an answer to an inbox, as micro services do: a failure is in the headers, and also in
// the body, for clients that don't see headers.
func Send(nc *nats.Conn, to string, body any, failure error) error {
	m := nats.NewMsg(to)
	if failure != nil {
		e := failureOf(failure)
		m.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(e.Code))
		m.Header.Set(micro.ErrorHeader, e.Text)
		a, _ := body.(wire.Answer)
		a.Error = e
		body = a
	}
	var err error
	if m.Data, err = json.Marshal(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return natsconn.Unsent(nc.PublishMsg(m))
}
