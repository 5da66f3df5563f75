module idle-scaler

go 1.26

require (
	github.com/agnivade/levenshtein v1.2.2 // indirect
	github.com/robfig/cron/v3 v3.0.1 // indirect
)
