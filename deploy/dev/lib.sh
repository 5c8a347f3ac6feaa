# Shared by services-up and services-down; not run by itself.
# shellcheck shell=bash

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
run=$repo/.run
services=$run/services
env_file=$run/services.env

say() { printf '%s\n' "services: $*"; }

# One loud line, then the end. INSTEAD is what the caller has to add to it.
loud() { printf '%s\n' "!!! services: $*${INSTEAD:+; $INSTEAD}" >&2; }
failed=3
fail() {
  loud "$*"
  exit $failed
}
# An end that nobody wrote a line for is loud too.
last_word() {
  local status=$?
  [ $status -eq 0 ] || [ $status -eq $failed ] || loud "ended unfinished, status $status"
}
trap last_word EXIT

# run_printed COMMAND...: no command that changes the machine runs unseen.
run_printed() {
  printf '+ %s\n' "$*"
  "$@"
}

# install_packages CONSEQUENCE PACKAGE...: prints the commands and asks before it
# runs them; CI=true or YES=1 answers yes. Each is printed again as it runs.
install_packages() {
  local command refresh answer consequence=$1
  shift
  command -v apt-get >/dev/null || fail "missing: $*; this machine has no apt-get, install them in its own way"
  # Another apt-get, or the nightly upgrades, may hold the lock for a while.
  command="apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $*"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "missing packages; as root run: $command"
    command="sudo $command"
  fi
  refresh="${command%% install*} update"
  printf '%s\n' "services: these packages are missing: $*" "  $command" "  and if that fails first: $refresh"
  if [ "${CI:-}" != true ] && [ "${YES:-}" != 1 ]; then
    [ -t 0 ] || fail "nobody to ask; run the command above, or set YES=1"
    read -r -p "Run it? [y/N] " answer
    [ "$answer" = y ] || [ "$answer" = Y ] || fail "not installed, $consequence"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # The package lists of a fresh machine are empty or old: refresh, try again.
  # shellcheck disable=SC2086 # words on purpose
  run_printed $command || { run_printed $refresh && run_printed $command; } || fail "the packages could not be installed"
}

# alive PIDFILE WORD: the process of the pid file lives and its command line
# holds WORD. A pid file outlives its process; the number may be anybody's.
alive() {
  local pid
  [ -r "$1" ] || return 1
  pid=$(head -n 1 "$1")
  [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$2"
}

# wait_until SECONDS COMMAND...: asks every 0.1 s.
wait_until() {
  local left=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 0.1
  done
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# stop_pid PIDFILE WORD NAME: politely, after 20 s at once.
stop_pid() {
  local pid
  if ! alive "$1" "$2"; then
    rm -f "$1"
    return 0
  fi
  pid=$(head -n 1 "$1")
  kill -TERM "$pid"
  gone() { ! alive "$1" "$2"; }
  if ! wait_until 20 gone "$1" "$2"; then
    say "$3 (process $pid) does not end, so it is killed"
    kill -KILL "$pid" || true
  fi
  rm -f "$1"
  say "$3 stopped"
}

# PostgreSQL's programs: PATH, else the newest of the distribution.
find_postgres_bin() {
  local dir
  if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
    dirname "$(command -v pg_ctl)"
    return
  fi
  dir=$(printf '%s\n' /usr/lib/postgresql/*/bin/pg_ctl | sort -V | tail -n 1)
  [ -x "$dir" ] && dirname "$dir"
}

# as_postgres COMMAND...: PostgreSQL refuses root, so root lends it the user
# postgres. If a folder above is closed to that user (/root usually is), it may
# pass through it, instead of the folder being opened to everybody.
as_postgres() {
  local lend pass capability
  if [ "$(id -u)" -ne 0 ]; then
    "$@"
    return
  fi
  lend=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  pass=()
  if ! "${lend[@]}" test -x "$services/postgres" 2>/dev/null; then
    for capability in dac_read_search dac_override; do
      pass=("--inh-caps=+$capability" "--ambient-caps=+$capability")
      ! "${lend[@]}" "${pass[@]}" test -x "$services/postgres" 2>/dev/null || break
    done
  fi
  (cd / && "${lend[@]}" "${pass[@]}" "$@")
}

redis_runs() {
  [ -r "$services/redis/port" ] &&
    alive "$services/redis/redis.pid" "redis-server 127.0.0.1:$(cat "$services/redis/port")"
}
