package wire

import (
	"fmt"
	"time"
)

// MaxTTL is the longest lease.
const MaxTTL = 24 * time.Hour

// LeasePayload returns the payload of a lease that lasts for ttl; zero ends it.
func LeasePayload(ttl time.Duration) []byte { return fmt.Appendf(nil, `{"ttl":%q}`, ttl.String()) }

// ReadLease reads the payload of a lease.
func ReadLease(payload []byte) (ttl time.Duration, err error) {
	has, err := decode(payload, fields{"ttl": &ttl})
	if err != nil {
		return 0, err
	}
	if !has["ttl"] {
		return 0, invalid(`no ttl: write how long the server is in use, like {"ttl":"5m"}, or {"ttl":"0s"} to end the lease`)
	}
	return ttl, CheckTTL(ttl)
}

// CheckTTL returns an error if no lease can last so long; zero ends one.
func CheckTTL(ttl time.Duration) error {
	if ttl < 0 {
		return invalid(`ttl %s is negative: write "0s" to end the lease`, ttl)
	}
	if ttl > MaxTTL {
		return outOfRange("ttl %s: write at most %s, and renew the lease in time", ttl, MaxTTL)
	}
	return nil
}
