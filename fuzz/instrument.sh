#!/bin/sh
# A RUSTC_WRAPPER: compiles our own crates with coverage counters and comparison
# tracing for libFuzzer, and every other crate as it is. DataFusion with its 400
# crates is then the one that the tests use, and is not built again.
#
# These are the flags of cargo-fuzz without its sanitizer, which needs a nightly
# compiler; safe Rust has little for it to find.
case " $* " in
*" --crate-name comity"*)
    exec "$@" \
        -C passes=sancov-module \
        -C llvm-args=-sanitizer-coverage-level=4 \
        -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
        -C llvm-args=-sanitizer-coverage-pc-table \
        -C llvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
