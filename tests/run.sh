#!/bin/bash
# Runs every test. Prints where the time went, then, on the last line, how many passed and failed.
#
# The stories play the package as it is shipped. Test programs are built without optimisation: an optimised build of each takes
# longer than the program.
# The module is tested alone: in one build with the daemon its zbus would get the daemon's features (ARCHITECTURE.md).
# A build that fails and a test program that dies count as one failure each.
set -uo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
read -ra flags <<<"${CARGO_FLAGS:---locked}"
export RUST_BACKTRACE=0
# Two hosts at a time; more of them would measure each other.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
log=$folder/log programs=$folder/programs
export JIT_TIMES=$folder/times
touch "$JIT_TIMES" "$programs"
passed=0 failed=0 broken=0

# Passes the output on, and notes when cargo begins with a program and when it ends.
stamp() {
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
            *Running\ * | *Doc-tests\ * | "test result: "*) printf '%s\t%s\n' "$EPOCHREALTIME" "$line" >>"$programs" ;;
        esac
    done
}

run() {
    printf '%s\tRunning the build\n' "$EPOCHREALTIME" >>"$programs"
    "$cargo" test "${flags[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" | stamp
    local status=${PIPESTATUS[0]} p f
    read -r p f < <(awk '/^test result: / { p += $4; f += $6 } END { print p + 0, f + 0 }' "$log")
    passed=$((passed + p)) failed=$((failed + f))
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        broken=$((broken + 1))
    fi
    # A program that dies prints no result; cargo names it.
    local died
    died=$(grep -c '^  process didn.t exit successfully: .*(signal: ' "$log")
    if [ "$f" -gt 0 ]; then
        broken=$((broken + died))
    fi
}

# The table: each test program, and the hosts of each module of stories. Two hosts run at a time, so that the modules add
# up to more than the stories took.
times() {
    echo
    echo 'Where the time went (seconds):'
    awk -F'\t' '
        function close_(at) { if (name != "") took[name] += at - since; name = "" }
        /Running|Doc-tests/ {
            close_($1); name = $2; since = $1
            sub(/^ */, "", name); sub(/Running unittests /, "", name); sub(/Running /, "", name)
            sub(/\([^ ]*\/deps\//, "(", name); sub(/-[0-9a-f]+\)$/, ")", name)
        }
        /test result/ { close_($1) }
        END { for (name in took) if (took[name] >= 0.5) printf "%8.1f  %s\n", took[name], name }
    ' "$programs" | sort -rn
    awk -F'\t' '$1 == "boot" { boots++; booting += $2 }
        END { printf "\nThe stories by module, of them %.1f seconds for %d boots:\n", booting, boots }' "$JIT_TIMES"
    awk -F'\t' '
        { module = $3; sub(/::[^:]*$/, "", module); spent[module] += $2 }
        $1 == "boot" { boots[module]++ }
        END { for (module in spent) printf "%8.1f  %3d hosts  %s\n", spent[module], boots[module], module }
    ' "$JIT_TIMES" | sort -rn
    printf '\nThe slowest stories:\n'
    awk -F'\t' '{ spent[$3] += $2 } END { for (test in spent) printf "%8.1f  %s\n", spent[test], test }' "$JIT_TIMES" |
        sort -rn | head -n 12
    echo
}

run --workspace --exclude pam_jit --exclude jit_tests
run -p pam_jit
run -p jit_tests
times

failed=$((failed + broken))
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
