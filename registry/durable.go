package registry

import "context"

// CheckDurable returns one sentence for each setting of the server by which a
// committed transaction could be lost with one machine: "durable" means a
// synchronous standby (README, promises). None means durable.
func (db *DB) CheckDurable(ctx context.Context) ([]string, error) {
	var fsync, commit, standbys string
	err := db.pool.QueryRow(ctx, `
select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')`).
		Scan(&fsync, &commit, &standbys)
	if err != nil {
		return nil, clean("check durable", err)
	}
	var problems []string
	if fsync != "on" {
		problems = append(problems, "postgres: fsync is "+fsync+", production needs on")
	}
	if commit != "on" && commit != "remote_apply" {
		problems = append(problems, "postgres: synchronous_commit is "+commit+", production needs on or remote_apply")
	}
	if standbys == "" {
		problems = append(problems, "postgres: synchronous_standby_names is empty, production needs a synchronous standby")
	}
	return problems, nil
}
