#!/usr/bin/env bash
# As the official entrypoint: POSTGRES_USER, _PASSWORD, _DB (or *_FILE), initdb.d, and postgres under its own user.
set -euo pipefail

from_file() { # NAME: its value, or the content of the file that NAME_FILE names
  local file="$1_FILE"
  if [[ -n "${!file:-}" ]]; then export "$1"="$(<"${!file}")"; unset "$file"; fi
}

initialise() {
  from_file POSTGRES_USER; from_file POSTGRES_PASSWORD; from_file POSTGRES_DB
  local user=${POSTGRES_USER:-postgres} database script
  database=${POSTGRES_DB:-$user}
  [[ -n "${POSTGRES_PASSWORD:-}" ]] || { echo "Error: Database is uninitialized and superuser password is not specified." >&2; exit 1; }
  initdb -U "$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  [[ "$database" == postgres ]] || psql -U "$user" -d postgres -v ON_ERROR_STOP=1 --set db="$database" <<<'CREATE DATABASE :"db";'
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sh) . "$script" ;;
      *.sql) psql -U "$user" -d "$database" -v ON_ERROR_STOP=1 -f "$script" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
}

[[ "${1:-}" == -* ]] && set -- postgres "$@"
if [[ "${1:-}" == postgres ]]; then
  if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA"; chown -R postgres "$PGDATA" /run/postgresql; chmod 700 "$PGDATA"
    exec gosu postgres "$0" "$@"
  fi
  [[ -s "$PGDATA/PG_VERSION" ]] || initialise
fi
exec "$@"
