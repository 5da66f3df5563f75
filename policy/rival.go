package policy

// KEDA as Facts.Rival: a ScaledObject scales the server.
const KEDA = "a ScaledObject of KEDA"

// Counts reports whether the reverts count still: nobody has changed a setting since the first, when the settings had this digest.
func (r Reverts) Counts(digest string) bool { return r.Count > 0 && r.Digest == digest }

// Contended reports whether somebody else keeps the server awake, whose settings have this digest.
func (r Reverts) Contended(digest string) bool { return r.Count >= MaxReverts && r.Digest == digest }
