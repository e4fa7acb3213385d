#!/usr/bin/env bash
# Ships three published releases of a real package to 25 agents, compares every tree byte for byte, rolls back and
# forward, cleans.
#
#   examples/registry-releases.sh [PACKAGE VERSION VERSION VERSION]
#
# The package comes from the registry that cargo is set up for, unpacked by cargo itself; the same unpacked folder is
# what every host's `live` is compared with. FOOTPLATE names the program (default: the release build), AGENTS how many.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -ge 4 ]; then
    package=$1; versions=("${@:2:3}")
else
    package=libc; versions=(0.2.175 0.2.176 0.2.177)
fi
agents=${AGENTS:-25}
if [ -z "${FOOTPLATE:-}" ]; then
    cargo build --quiet --release --locked --package footplate
    FOOTPLATE=$PWD/target/release/footplate
fi

place=$(mktemp -d)
started=()
finish() {
    for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
    wait
    rm -rf "$place"
}
trap finish EXIT
say() { printf '%s\n' "$*"; }

# Polls a condition for a minute.
eventually() {
    for _ in $(seq 600); do
        if "$@"; then return; fi
        sleep 0.1
    done
    say "error: in vain for a minute: $*"
    exit 1
}

# Downloads one release; leaves it unpacked in $place/packages/VERSION.
download() {
    local version=$1 project=$place/project-$1
    mkdir -p "$project/src" "$place/packages"
    : > "$project/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' \
        "$package" "$version" > "$project/Cargo.toml"
    (cd "$project" && cargo vendor --quiet --versioned-dirs > /dev/null)
    mv "$project/vendor/$package-$version" "$place/packages/$version"
}

# Names, kinds, executable bits and link targets of a tree; contents are compared by diff.
listing() { (cd "$1" && find . -mindepth 1 -printf '%P %y %l' \( -type f -executable -printf ' executable' -o -true \) -printf '\n' | sort); }

# Compares what every host runs with the package as it was unpacked.
compare() {
    local version=$1 expected
    expected=$(listing "$place/packages/$version")
    for host in "$place"/hosts/*/; do
        local live=$host/apps/production/$package/live
        [ "$(basename "$(readlink "$live")")" = "$version" ] || { say "error: $host runs $(readlink "$live")"; exit 1; }
        diff -r --no-dereference "$place/packages/$version" "$live/" > /dev/null || { say "error: $host differs"; exit 1; }
        [ "$(listing "$live/")" = "$expected" ] || { say "error: $host differs in names or rights"; exit 1; }
    done
    say "  $agents trees are the same as $package $version, byte for byte ($(printf '%s\n' "$expected" | wc -l) entries each)"
}

footplate() { "$FOOTPLATE" --controller "http://$api" --token-file "$place/controller/token" "$@" 2>> "$place/talk.log" || { tail -5 "$place/talk.log" >&2; return 1; }; }

# Finds a port that nobody listens on.
free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); do
        if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then printf '%s' "$port"; return; fi
    done
}

# Starts a program in the background; its talk goes to a file.
start() {
    local name=$1
    shift
    "$@" > "$place/$name.log" 2>&1 &
    started+=($!)
}

say "fetching $package ${versions[*]}"
for version in "${versions[@]}"; do download "$version"; done

say "starting a store, a controller and $agents agents"
store=127.0.0.1:$(free_port)
api=127.0.0.1:$(free_port)
start store "$FOOTPLATE" store serve --listen "$store" --folder "$place/store"
printf 'listen = "%s"\nfolder = "%s/controller"\n[store]\naddress = "http://%s"\n' "$api" "$place" "$store" \
    > "$place/controller.toml"
start controller "$FOOTPLATE" controller --config "$place/controller.toml"
for number in $(seq "$agents"); do
    folder=$place/hosts/host-$number
    mkdir -p "$folder"
    printf 'host = "host-%s"\nfolder = "%s"\n[store]\naddress = "http://%s"\n' "$number" "$folder" "$store" > "$folder/agent.toml"
    start "host-$number" "$FOOTPLATE" agent --config "$folder/agent.toml"
done
all_known() { [ "$(footplate hosts list --json 2> /dev/null | grep -c '"alive": true')" = "$agents" ]; }
eventually all_known

mkdir "$place/app"
printf 'app = "%s"\n[environments.production]\nhosts = "*"\n' "$package" > "$place/app/footplate.toml"
for version in "${versions[@]}"; do
    say "deploying $version"
    footplate push "$place/packages/$version" --app-folder "$place/app" --version "$version" > /dev/null
    footplate deploy "$package@$version" > /dev/null
    compare "$version"
done

say "rolling back"
footplate rollback "$package" --yes > /dev/null
compare "${versions[1]}"

# What ran before and what a rollback would go back to stay; only after going forward again the first one may go.
say "going forward again, cleaning ${versions[0]}"
footplate deploy "$package@${versions[2]}" > /dev/null
footplate clean "$package" --release "${versions[0]}" > /dev/null
all_clean() { [ -z "$(find "$place"/hosts/*/apps/production/"$package"/versions -maxdepth 1 -name "${versions[0]}")" ]; }
eventually all_clean
compare "${versions[2]}"
say "done: three releases of $package came to $agents hosts, went back and forward, and the first is gone"
