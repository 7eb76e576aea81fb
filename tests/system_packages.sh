#!/bin/sh
# Install the system packages that the demo and the tests need, where we may; else say which are missing.
set -eu
missing=
for package in "$@"; do
  case $package in
    xvfb) command -v Xvfb >/dev/null 2>&1 || missing="$missing $package" ;;
    x11-utils) command -v xprop >/dev/null 2>&1 || missing="$missing $package" ;;
    *) command -v "$package" >/dev/null 2>&1 || missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "make: please install with your package manager what Debian calls:$missing" >&2
  exit 2
fi
if [ "$(id -u)" = 0 ]; then
  sudo=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  sudo=sudo
else
  echo "make: missing system packages. Run: sudo apt-get install$missing" >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
# shellcheck disable=SC2086  # a list of words on purpose
$sudo apt-get install -y -q --no-install-recommends $missing >/dev/null
