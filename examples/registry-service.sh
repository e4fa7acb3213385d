#!/usr/bin/env bash
# Takes a real service through three of its published versions under load, and back, without a failed request.
#
#   examples/registry-service.sh
#
# The service is Radicale, a calendar server, from the registry that pip is set up for. Its wheels are kept in the test cache
# (FOOTPLATE_TEST_CACHE): without them and without the registry this fails and says so. FOOTPLATE names the program and CUSTOMERS the
# clients (default: the release builds).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=radicale
versions=(3.1.9 3.2.3 3.3.3)
libraries=(vobject==0.9.9 python-dateutil==2.9.0.post0 six==1.17.0 pytz==2025.2 defusedxml==0.7.1 passlib==1.7.4 pika==1.3.2)
requests_min=${REQUESTS:-2000}
if [ -z "${FOOTPLATE:-}" ]; then
    cargo build --quiet --release --locked --package footplate --bin footplate --example customers
    FOOTPLATE=$PWD/target/release/footplate
    CUSTOMERS=$PWD/target/release/examples/customers
fi

source examples/registry-site.sh

# Asks through the router: METHOD PATH [BODY]. Prints the answer; fails unless it is 2xx.
ask() {
    python3 - "http://$door$2" "$1" "${3:-}" << 'END'
import base64, sys, urllib.request
address, method, body = sys.argv[1:]
request = urllib.request.Request(address, method=method, data=body.replace("\n", "\r\n").encode() if body else None)
request.add_header("Authorization", "Basic " + base64.b64encode(b"ann:any").decode())
if body: request.add_header("Content-Type", "text/calendar")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(request, timeout=20) as answer: sys.stdout.buffer.write(answer.read())
END
}

# Fetches the wheels that the cache lacks, then unpacks a release with its libraries into $place/packages/VERSION.
wheels=${FOOTPLATE_TEST_CACHE:-$HOME/.cache/footplate-tests}/wheels-of-$package
pip() { python3 -m pip --disable-pip-version-check --quiet "$@"; }
unpack() {
    local version=$1 wanted=("$package==$1" "${libraries[@]}")
    local target=$place/packages/$version
    install() { pip install --no-index --find-links "$wheels" --no-deps --no-compile --root-user-action ignore --target "$target" "${wanted[@]}"; }
    mkdir -p "$wheels"
    if ! install 2> "$place/install.log"; then
        rm -rf "$target"
        pip download --no-deps --only-binary=:all: --dest "$wheels" "${wanted[@]}" 2> "$place/pip.log" \
            || { tail -3 "$place/pip.log"; fail "cannot fetch $package $version from pip's registry, and the test cache does not hold it"; }
        install
    fi
}

say "unpacking $package ${versions[*]}"
for version in "${versions[@]}"; do unpack "$version"; done

say "starting a store, a controller, a router and three agents"
start_controller
door=127.0.0.1:$(free_port)
start router "$FOOTPLATE" router --listen "$door" --folder "$place/router"
start_agent edge "[router]
folder = \"$place/router\"
"
start_agent web-1 $'[labels]\nrole = "web"\n'
start_agent web-2 $'[labels]\nrole = "web"\n'
eventually is_up 3

# Ships one version by a strategy (lines of [rollout]), and looks: VERSION STRATEGY.
ship_by() {
    local version=$1
    mkdir -p "$place/app"
    cat > "$place/app/footplate.toml" << END
app = "$package"
[service.web]
command = "exec python3 -m radicale --config '' --hosts 127.0.0.1:\$PORT --auth-type none --storage-filesystem-folder $place/calendars"
env = { PYTHONDONTWRITEBYTECODE = "1" }
health = { path = "/.web/", interval = "200ms", healthy_time = "1s" }
[rollout]
$2
watch = "1s"
[environments.production]
hosts = "role=web"
END
    say "deploying $version: $(printf '%s' "$2" | tr '\n' ' ')"
    ship "$package" "$version"
    check "$version"
}

# The page's program is the version's own, on every host and through the router, and the calendar is still there.
check() {
    local version=$1 own=$place/packages/$1/radicale/web/internal_data/fn.js
    for host in web-1 web-2; do runs "$host" "$place/hosts/$host/apps/production/$package.web/live" "$version"; done
    for _ in 1 2 3 4; do ask GET /.web/fn.js | cmp - "$own" || fail "another version than $version answers"; done
    if [ -e "$place/has-calendar" ]; then
        ask GET /ann/days/1.ics | grep -q 'SUMMARY:written by 3.1.9' || fail "the calendar is gone"
    fi
    say "  $version answers on both hosts"
}

ship_by "${versions[0]}" 'strategy = "barrier"'
ask MKCALENDAR /ann/days/ > /dev/null
ask PUT /ann/days/1.ics "BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:1
DTSTAMP:20260101T000000Z
DTSTART:20260101T000000Z
SUMMARY:written by ${versions[0]}
END:VEVENT
END:VCALENDAR
" > /dev/null
touch "$place/has-calendar"
"$CUSTOMERS" "$door" 4 /.web/css/main.css 5 > "$place/customers.json" 2> "$place/customers.log" &
customers=$!
started+=("$customers")
ship_by "${versions[1]}" $'strategy = "rolling"\nbatch = "1"'
ship_by "${versions[2]}" $'strategy = "canary"\nramp = ["10%", "50%"]\nbatch = "1"'
say "rolling back"
footplate rollback "$package" --yes > /dev/null
check "${versions[1]}"
kill -TERM "$customers"
wait "$customers" || { cat "$place/customers.json" "$place/customers.log"; fail "requests failed"; }
say "  $(cat "$place/customers.json")"
made=$(sed -n 's/.*"requests":\([0-9]*\).*/\1/p' "$place/customers.json")
[ "${made:-0}" -ge "$requests_min" ] || fail "only $made requests"
say "done: $package went through ${versions[*]} and back to ${versions[1]}; $made requests, none failed"
