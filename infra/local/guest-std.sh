#!/usr/bin/env bash
# Makes the standard library for wasm32-wasip2 available to this project's rustc, and prints the environment for guest
# builds as shell lines:
#
#   env=$(infra/local/guest-std.sh) && eval "$env" && cargo build --target wasm32-wasip2 ...
#
# Where the library comes from, in this order:
#   1. the toolchain, if the target is installed there
#   2. `rustup target add`, if there is a rustup
#   3. Debian: std is built once from Debian's rust-src of exactly this rustc version, against Debian's wasi-libc, into a
#      private sysroot in the cache. Nothing is installed system-wide.
#
#   GUEST_STD=auto     (default) as above
#   GUEST_STD=rustup   only 1 and 2
#   GUEST_STD=debian   only 1 and 3, for machines that reach Debian's packages and crates but not rustup's
#   DEBIAN_MIRROR      address of a Debian mirror; by default the one this machine's apt uses
#   DEBIAN_SUITES      suites to look in, in order; both packages are architecture-independent, so any suite's fit
#   GUEST_STD_CACHE    where built libraries are kept
set -euo pipefail

target=wasm32-wasip2
cd "$(dirname "${BASH_SOURCE[0]}")/../.." # so that rust-toolchain.toml decides which rustc this is about
say() { echo "[guest-std] $*" >&2; }
die() { say "$*" && exit 1; }

# RUSTFLAGS, if set, would hide the variable of the target, and with it the sysroot.
print_environment() {
  echo "unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS"
  if [ -n "${1:-}" ]; then
    local flags=${CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS:-}
    printf 'export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=%q\n' "${flags:+$flags }--sysroot=$1"
  fi
}

mode=${GUEST_STD:-auto}
case $mode in auto | rustup | debian) ;; *) die "GUEST_STD is \"$mode\"; it can be auto, rustup or debian" ;; esac

# The tools of the active toolchain by path: in the folder where std is built, rustup would choose another one.
toolchain=$(rustc --print sysroot)
rustc=$toolchain/bin/rustc
cargo=$toolchain/bin/cargo
[ -x "$rustc" ] || rustc=$(command -v rustc)
[ -x "$cargo" ] || cargo=$(command -v cargo)

installed() { compgen -G "$("$rustc" --print target-libdir --target $target)/libstd-*.rlib" >/dev/null; }

if installed; then
  print_environment
  exit 0
fi

if [ "$mode" != debian ] && command -v rustup >/dev/null; then
  say "rustup target add $target"
  if rustup target add $target </dev/null >&2 && installed; then
    print_environment
    exit 0
  fi
  [ "$mode" = auto ] && say "rustup could not add $target; falling back to Debian's rust-src"
fi
[ "$mode" != rustup ] || die "$target is not installed and rustup cannot add it; try: rustup target add $target, or GUEST_STD=debian"

# --- 3. from Debian ---------------------------------------------------------------------------------------------------

version=$("$rustc" -vV | sed -n 's/^release: //p')
commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
cache=${GUEST_STD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe/guest-std}
current=$cache/$version-${commit:0:9}-$target # a link to the folder that also carries its content's hash in its name

if [ -e "$current/.complete" ]; then
  print_environment "$(readlink -f "$current")"
  exit 0
fi

for tool in apt-get dpkg-deb tar flock; do
  command -v $tool >/dev/null || die "$target is not installed, and building it from Debian's packages needs $tool; try: rustup target add $target"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] || die "$keyring is missing; install the package debian-archive-keyring"

mkdir -p "$cache"
exec 9>"$cache/.lock" && flock 9 # one builder at a time
if [ -e "$current/.complete" ]; then
  print_environment "$(readlink -f "$current")"
  exit 0
fi

work=$cache/work-$version # always the same path, so that the same sources give the same bytes
rm -rf "$work" && trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{etc,state/lists/partial,cache/archives/partial} "$work"/{debs,unpacked,crate/src}

debian_mirrors() {
  # shellcheck disable=SC2016 # apt fills these in, not the shell
  apt-get "$@" indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | sort -u
}
mirror=${DEBIAN_MIRROR:-$(debian_mirrors | sed -n 1p)}
if [ -z "$mirror" ]; then # apt has no package lists yet, and origins are known from those: read them into a private folder
  mkdir -p "$work/lists/partial"
  apt-get -qq -o Dir::State::Lists="$work/lists" update >&2 || true
  mirror=$(debian_mirrors -o Dir::State::Lists="$work/lists" | sed -n 1p)
fi
[ -n "$mirror" ] || die "this machine's apt sources name no Debian mirror; set DEBIAN_MIRROR, or: rustup target add $target"

# Packages are downloaded, and their signatures checked, by an apt whose whole state is private.
cat >"$work/apt/apt.conf" <<CONF
Dir::Etc "$work/apt/etc"; Dir::Etc::sourcelist "$work/apt/etc/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::parts "/dev/null"; Dir::Etc::preferencesparts "/dev/null"; Dir::State "$work/apt/state"; Dir::State::status "/dev/null";
Dir::Cache "$work/apt/cache"; Acquire::Languages "none"; APT::Sandbox::User "root";
CONF
private_apt() { APT_CONFIG=$work/apt/apt.conf "$@"; }

source_version=
suites=${DEBIAN_SUITES:-trixie-backports testing unstable}
for suite in $suites; do
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/apt/etc/sources.list"
  say "looking for rust-src $version in $suite"
  private_apt apt-get -qq update >&2 || continue
  source_version=$(private_apt apt-cache madison rust-src | awk -F' *[|] *' -v v="$version+dfsg" 'index($2, v) == 1 { print $2; exit }')
  [ -z "$source_version" ] || break
done
[ -n "$source_version" ] || die "no rust-src $version in: $suites (std must match rustc exactly); try: rustup target add $target"

say "downloading rust-src $source_version and wasi-libc"
(cd "$work/debs" && private_apt apt-get -qq download "rust-src=$source_version" wasi-libc >&2)
dpkg-deb --fsys-tarfile "$work"/debs/rust-src_*.deb | tar -x -C "$work/unpacked" "./usr/src/rustc-$version/library"
dpkg-deb -x "$work"/debs/wasi-libc_*.deb "$work/unpacked"
library=$work/unpacked/usr/src/rustc-$version/library
libc=$work/unpacked/usr/lib/$target

say "building std $version for $target"
echo '#![no_std]' >"$work/crate/src/lib.rs"
cat >"$work/crate/Cargo.toml" <<'MANIFEST'
[package]
name = "std-for-guests"
version = "0.0.0"
edition = "2024"

[workspace]

[profile.release]
debug = 0
codegen-units = 1
MANIFEST
# RUSTC_BOOTSTRAP lets this one build use -Zbuild-std; the test-only variable tells Cargo where the library's source lies.
(
  cd "$work/crate"
  unset CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS
  export RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0 __CARGO_TESTS_ONLY_SRC_ROOT=$library
  export RUSTFLAGS="-Cembed-bitcode=yes -Lnative=$libc --remap-path-prefix=$library=/rustc/$commit/library --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry=/cargo/registry"
  "$cargo" build --release -Zbuild-std=std,panic_abort,test --target $target >&2
)

lib=$work/sysroot/lib/rustlib/$target/lib
mkdir -p "$lib/self-contained"
cp "$work/crate/target/$target/release/deps/"*.rlib "$lib/"
rm -f "$lib"/libstd_for_guests-*.rlib
cp "$libc"/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained/"
touch "$work/sysroot/.complete"

# Cargo does not look into a sysroot, but it does rebuild when the path in the flags changes: so the path carries the content's hash.
content=$(cd "$lib" && sha256sum ./*.rlib self-contained/* | sha256sum | cut -c1-12)
rm -rf "$current-$content"
mv "$work/sysroot" "$current-$content"
ln -sfn "$(basename "$current")-$content" "$current"
say "ready: $current ($(du -sh "$current/" | cut -f1))"
print_environment "$(readlink -f "$current")"
