#!/bin/sh
# Makes the secrets of docker/compose.yaml: random, each in a file of docker/secrets. What is there stays as it is.
set -eu
cd "$(dirname "$0")"
# Containers read the files by their number for a user; on this machine the directory is closed to everybody else.
mkdir -p secrets channels
chmod 0700 secrets

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in internal_token postgres_password grafana_password gateway_token prometheus_token; do
  [ -s "secrets/$name" ] || random >"secrets/$name"
done
[ -s secrets/database_url ] || printf 'postgresql://ems:%s@postgres:5432/ems' "$(cat secrets/postgres_password)" >secrets/database_url
# The gateway has hashes only. More tokens: `ems-streams tokens create --file docker/secrets/gateway_tokens`, then mode 0444 again.
hash_of() { tr -d '\n' <"secrets/$1" | sha256sum | cut -d' ' -f1; }
[ -s secrets/gateway_tokens ] || cat >secrets/gateway_tokens <<END
tokens:
  - name: admin
    hash: sha256:$(hash_of gateway_token)
    role: admin
    sites: all
  - name: prometheus
    hash: sha256:$(hash_of prometheus_token)
    role: viewer
    sites: all
END
chmod 0444 secrets/*
echo "secrets: docker/secrets has $(ls secrets | wc -l | tr -d ' ') files"
