package engines

import "strconv"

// serverSettings returns the settings of a private server, as arguments, so
// that they are in force whatever an older cluster's own file says.
func serverSettings(port int, durable bool) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=", // nothing in /tmp to forget
		"max_connections=100",
		"shared_buffers=64MB",
		"dynamic_shared_memory_type=mmap", // inside the folder, gone with it
		"max_wal_size=512MB",
		"TimeZone=UTC",
		"log_timezone=UTC",
		"jit=off",

		// A refused statement's text, parameters and row are what people may
		// not find in a log: the server writes no statement, no DETAIL (it
		// quotes the row) and no ERROR at all, only its own LOG, FATAL, PANIC.
		"log_min_messages=log",
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
		"log_parameter_max_length=0",
		"log_parameter_max_length_on_error=0",
		"log_statement=none",
		"log_min_duration_statement=-1",
		"log_min_duration_sample=-1",
		"log_autovacuum_min_duration=-1",
		"log_lock_waits=off",
		"log_temp_files=-1",
		"logging_collector=off",
	}
	if !durable {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := make([]string, 0, 2*len(settings))
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}
