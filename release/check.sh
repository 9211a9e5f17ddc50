#!/usr/bin/env bash
# What a release must pass: sdist and wheel are built, the wheel is that of the sdist, and in an empty environment of every supported Python
# that is here `ems-streams dev` runs from it, and counts.
#   release/check.sh                    all of 3.11, 3.12 and 3.13 that are here
#   PYTHONS=/usr/bin/python3.12 DURATION_S=20 release/check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-.venv/bin/python}
duration_s=${DURATION_S:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() { echo "release: $*" >&2; exit 1; }

found() {
  local version candidate
  for version in 3.11 3.12 3.13; do
    for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/"python$version"; do
      if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$candidate"
        break
      fi
    done
  done
}

echo "release: sdist"
"$python" -m hatchling build --target sdist --directory "$work/dist" >/dev/null
sdist=("$work"/dist/*.tar.gz)
mkdir "$work/source"
tar -xzf "${sdist[0]}" --strip-components=1 -C "$work/source"
"$python" release/pins.py dev-stack >"$work/pins.txt"

for interpreter in ${PYTHONS:-$(found)}; do
  version=$("$interpreter" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  started=$SECONDS
  "$interpreter" -m venv "$work/build-$version"
  "$work/build-$version/bin/python" -m pip install --quiet --no-deps --require-hashes -r docker/requirements-build.txt
  (cd "$work/source" && "$work/build-$version/bin/python" -m hatchling build --target wheel --directory "$work/wheel-$version" >/dev/null)
  wheel=("$work/wheel-$version"/*.whl)
  "$interpreter" -m venv "$work/env-$version"
  "$work/env-$version/bin/python" -m pip install --quiet --no-deps --require-hashes -r "$work/pins.txt"
  "$work/env-$version/bin/python" -m pip install --quiet --no-deps --no-index "${wheel[0]}"
  "$work/env-$version/bin/python" -m pip check >/dev/null || fail "$version: $("$work/env-$version/bin/python" -m pip check)"
  compiled=$(cd "$work" && "$work/env-$version/bin/python" -c 'import ems_streams.domain._hot; print("compiled")' 2>/dev/null || echo "not compiled")
  echo "release: Python $version, $(basename "${wheel[0]}"), $compiled, installed after $((SECONDS - started)) s"

  # In an empty directory, with none of our settings, on ports of its own.
  mkdir "$work/run-$version"
  started=$SECONDS
  (cd "$work/run-$version" && env -u PYTHONPATH "$work/env-$version/bin/ems-streams" dev --duration "$duration_s" --headless \
    --port-offset "${PORT_OFFSET:-9000}" >"$work/dev-$version.log" 2>&1) &
  dev=$!
  counted=0
  while kill -0 "$dev" 2>/dev/null; do
    answer=$(curl -s -m 2 "http://127.0.0.1:$((8080 + ${PORT_OFFSET:-9000}))/api/v1/devices?limit=100" || true)
    now=$(grep -o '"serialNumber":"DEMO-' <<<"$answer" | wc -l || true)
    [ "$now" -le "$counted" ] || counted=$now
    sleep 1
  done
  code=0
  wait "$dev" || code=$?
  [ "$code" -eq 0 ] || { tail -30 "$work/dev-$version.log" >&2; fail "Python $version: dev ended with $code"; }
  [ "$counted" -eq 50 ] || { tail -30 "$work/dev-$version.log" >&2; fail "Python $version: $counted of 50 devices were in the live table"; }
  echo "release: Python $version, dev for $duration_s s: $counted devices, ended with 0 after $((SECONDS - started)) s"
done
mkdir -p dist
cp "$work"/dist/*.tar.gz "$work"/wheel-*/*.whl dist/
echo "release: dist/ has $(ls dist | tr '\n' ' ')"
cd "$root"
