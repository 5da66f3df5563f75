// Package policy decides which server may sleep and which must wake, and by which rule.
//
// [Rules.Decide] is a pure function of [Facts] and an instant: the first rule that holds wins.
// docs/policy.md has the rules; its tables are the cases of the tests here. Package explain says a
// decision in words. [Table] has all settings; [Parse] reads those that people write on a server,
// on its namespace and in the configuration. A [Schedule] says when the daemon sweeps, [Windows]
// when it keeps a server awake. Nothing here does IO, starts a goroutine or reads a clock.
package policy
