#!/bin/sh
# Makes the secrets of docker/compose.yaml: random, each in a file of docker/secrets. What is there stays as it is.
set -eu
cd "$(dirname "$0")"
# Containers read the files by their number for a user; on this machine the directory is closed to everybody else.
mkdir -p secrets channels
chmod 0700 secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in internal_token postgres_password grafana_password; do
  [ -s "secrets/$name" ] || random >"secrets/$name"
done
[ -s secrets/database_url ] || printf 'postgresql://ems:%s@postgres:5432/ems' "$(cat secrets/postgres_password)" >secrets/database_url
chmod 0444 secrets/internal_token secrets/postgres_password secrets/grafana_password secrets/database_url
echo "secrets: docker/secrets has $(ls secrets | wc -l | tr -d ' ') files"
