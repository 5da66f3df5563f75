package policy

// KEDA as Facts.Rival: a ScaledObject scales the server.
const KEDA = "a ScaledObject of KEDA"

// Counts reports whether the reverts still count: nobody has changed a setting since the first.
// Digest is that of the settings now.
func (r Reverts) Counts(digest string) bool { return r.Count > 0 && r.Digest == digest }

// Contended reports whether somebody else keeps waking the server. Digest is that of its settings
// now.
func (r Reverts) Contended(digest string) bool { return r.Count >= MaxReverts && r.Digest == digest }
