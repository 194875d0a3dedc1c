#!/bin/bash
# Runs every test and says on the last line how many passed and failed.
#
# The module is tested alone: in one build with the daemon its zbus would get the daemon's features (DESIGN.md).
# A build that fails and a test program that dies count as one failure each.
set -uo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
read -ra flags <<<"${CARGO_FLAGS:---locked}"
export RUST_BACKTRACE=0
# Two hosts at a time; more of them would measure each other.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-2}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 broken=0

run() {
    "$cargo" test --release "${flags[@]}" --no-fail-fast "$@" 2>&1 | tee "$log"
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

run --workspace --exclude pam_jit
run -p pam_jit

failed=$((failed + broken))
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
