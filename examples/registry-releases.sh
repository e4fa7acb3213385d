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

source examples/registry-site.sh

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
        runs "$host" "$live" "$version"
        diff -r --no-dereference "$place/packages/$version" "$live/" > /dev/null || fail "$host differs"
        [ "$(listing "$live/")" = "$expected" ] || fail "$host differs in names or rights"
    done
    say "  $agents trees are the same as $package $version, byte for byte ($(printf '%s\n' "$expected" | wc -l) entries each)"
}

say "fetching $package ${versions[*]}"
for version in "${versions[@]}"; do download "$version"; done

say "starting a store, a controller and $agents agents"
start_controller
for number in $(seq "$agents"); do start_agent "host-$number"; done
eventually is_up "$agents"

mkdir "$place/app"
printf 'app = "%s"\n[environments.production]\nhosts = "*"\n' "$package" > "$place/app/footplate.toml"
for version in "${versions[@]}"; do
    say "deploying $version"
    ship "$package" "$version"
    compare "$version"
done

say "rolling back"
footplate rollback "$package" --yes > /dev/null
compare "${versions[1]}"

# What ran before and what a rollback would go back to stay; only after going forward again the first one may go.
say "going forward again, cleaning ${versions[0]}"
footplate gate open "$package" --why "the way back was tried" --no-test "it was an exercise" > /dev/null
footplate deploy "$package@${versions[2]}" > /dev/null
footplate clean "$package" --release "${versions[0]}" > /dev/null
all_clean() { [ -z "$(find "$place"/hosts/*/apps/production/"$package"/versions -maxdepth 1 -name "${versions[0]}")" ]; }
eventually all_clean
compare "${versions[2]}"
say "done: three releases of $package came to $agents hosts, went back and forward, and the first is gone"
