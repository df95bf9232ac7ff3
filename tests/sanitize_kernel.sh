#!/bin/sh
# Build the extension modules with the address and undefined-behaviour sanitizers and run their tests with them.
# Run it as  tests/sanitize_kernel.sh [PYTHON]  from anywhere; PYTHON has the test dependencies installed.
set -eu

python=${1:-python3}
project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -r "$project/src" "$work/src"
find "$work/src" -name '*.so' -delete
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
compiler=${CC:-gcc}
for module in combine/_kernel combine/_outliers combine/_parts combine/_pixels combine/_survey catalogs/_pixels; do
  # -O1 without -ffinite-math-only: less to build, and what the sanitizers see is what is written.  GCC does not
  # align vectors on the stack as the kernel's instructions want them when it guards the stack; all that the kernel
  # indexes is on the heap.
  stack=1
  [ "$module" = combine/_kernel ] && stack=0
  $compiler --param asan-stack=$stack -shared -fPIC -g -O1 -fno-omit-frame-pointer -ffp-contract=off -Wall -Wextra -Werror \
    -fsanitize=address,undefined -fno-sanitize-recover=undefined \
    -I"$include" "$work/src/multivisit/$module.c" -o "$work/src/multivisit/$module$suffix"
done

cd "$project"
# Python itself leaks by design, and allocates in ways that hide errors unless told to use malloc.
LD_PRELOAD="$($compiler -print-file-name=libasan.so) $($compiler -print-file-name=libstdc++.so)" \
ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1 \
UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc PYTHONPATH="$work/src" \
  "$python" -c '
import sys
import pytest
from multivisit.catalogs import _pixels as catalog_pixels
from multivisit.combine import _kernel, _outliers, _parts, _pixels, _survey
for module in (_kernel, _outliers, _parts, _pixels, _survey, catalog_pixels):
    assert module.__file__.startswith(sys.argv[1]), f"{module.__file__} is not the build for the sanitizers"
sys.exit(pytest.main(sys.argv[2:]))' "$work" -q -p no:cacheprovider \
  tests/combine/test_kernel.py tests/combine/test_kernel_engine.py tests/combine/test_layer_outliers.py \
  tests/combine/test_median.py tests/combine/test_cosmic_rays.py tests/combine/test_blot.py \
  tests/combine/test_sky_levels.py tests/combine/test_weights.py tests/combine/test_coverage.py \
  tests/combine/test_chip_parts.py tests/combine/test_survey_passes.py tests/products/test_preview.py tests/catalogs/test_pixels.py
