package api

// pageRoom is what of the largest payload of NATS is left free in a page: for the JSON around what
// it lists.
const pageRoom = 1 << 10

// room is how many bytes of a message are still free for what it lists.
type room int

// take takes the room of one more element, encoded, and reports whether there was as much.
func (r *room) take(element []byte) bool {
	*r -= room(len(element) + len(","))
	return *r >= 0
}
