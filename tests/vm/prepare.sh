#!/usr/bin/env bash
# Prepare a guest kernel with evdev, uinput, joydev and the drivers of real gamepads, from Debian packages only: User Mode
# Linux where it runs (prepare-uml.sh), else Debian's own kernel in QEMU (prepare-qemu.sh).
#
# usage: tests/vm/prepare.sh [CACHE]      default: .cache/vm of this checkout. Does nothing where one is ready.
#        RLAI_VM=uml or RLAI_VM=qemu prepares that one and no other.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-$here/../../.cache/vm}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
cd "$cache"

fail() { echo "prepare.sh: $*" >&2; exit 2; }
# One at a time: two test runs may share the cache.
exec 9>lock
flock 9

export DEBIAN_FRONTEND=noninteractive
need_packages() { # NAME...: of this system, to work with
  local need=() package sudo=
  command -v apt-get >/dev/null ||
    fail "needs Debian (apt-get); on other systems load the uinput module and run the tests directly"
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo=sudo; }
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
  done
  # Without lists of packages nothing can be found or downloaded either.
  [ -n "$(apt-cache search --names-only '^busybox-static$')" ] || $sudo apt-get update -q >apt.log 2>&1 ||
    fail "apt-get update failed: $(tail -1 apt.log)"
  [ ${#need[@]} = 0 ] ||
    $sudo apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${need[@]}" >apt.log 2>&1 ||
    fail "cannot install ${need[*]}: $(tail -1 apt.log)"
}
unpack() { # PACKAGE FOLDER
  rm -rf download "$2"
  mkdir download
  (cd download && apt-get download -q "$1" >../download.log 2>&1) || fail "download of $1 failed: $(tail -1 download.log)"
  dpkg -x download/*.deb "$2"
  rm -r download
}

why_not_uml= # set by prepare_uml where User Mode Linux does not run
. "$here/prepare-uml.sh"
. "$here/prepare-qemu.sh"
case ${RLAI_VM:-} in
  qemu) prepare_qemu ;;
  uml | "")
    prepare_uml # not within a condition, where bash would go on after errors
    if [ -n "$why_not_uml" ]; then
      why_not_uml="User Mode Linux does not run on this machine: $why_not_uml"
      [ -z "${RLAI_VM:-}" ] || fail "$why_not_uml (see $here/README.md)"
      echo "prepare.sh: $why_not_uml. QEMU takes its place." >&2
      prepare_qemu
    fi
    ;;
  *) fail "RLAI_VM=$RLAI_VM is neither uml nor qemu" ;;
esac
