// Package policy decides which server may sleep, which must wake, and says why.
//
// [Rules.Decide] is a pure function of [Facts] and an instant: the first rule that holds wins, as docs/policy.md tells, whose tables
// are the cases of the tests here. [Decision.Explain] says it in a sentence. [Table] has all settings; [Parse] reads
// those that people write, on a server, on its namespace and in the configuration. [Schedule] says when all servers are looked at, [Windows] when one is kept awake. Nothing here does IO, starts a goroutine or reads a clock.
package policy
