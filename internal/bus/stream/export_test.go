package stream

// What the tests need to know.
const OwnerKey = ownerKey

var (
	Kinds = kinds
	Older = older
)
