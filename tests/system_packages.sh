#!/bin/sh
# Install the system packages that the demo and the tests need, where we may; else say which are missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin # ldconfig lives there
missing=
for package in "$@"; do
  case $package in
    xvfb) command -v Xvfb >/dev/null 2>&1 || missing="$missing $package" ;;
    xwayland) command -v Xwayland >/dev/null 2>&1 || missing="$missing $package" ;;
    dbus-daemon) command -v dbus-run-session >/dev/null 2>&1 || missing="$missing $package" ;;
    gstreamer1.0-tools) command -v gst-launch-1.0 >/dev/null 2>&1 || missing="$missing $package" ;;
    gstreamer1.0-pipewire) gst-inspect-1.0 pipewiresink >/dev/null 2>&1 || missing="$missing $package" ;;
    gstreamer1.0-plugins-base) gst-inspect-1.0 videotestsrc >/dev/null 2>&1 || missing="$missing $package" ;;
    python3-venv) missing="$missing $package" ;; # asked for only where it is missing
    x11-utils) command -v xprop >/dev/null 2>&1 || missing="$missing $package" ;;
    *) command -v "$package" >/dev/null 2>&1 || missing="$missing $package" ;;
  esac
done
# Libraries that OpenCV, mss and xcffib load from the system.
for pair in libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0 libxcb-shm.so.0:libxcb-shm0 libxcb-randr.so.0:libxcb-randr0 \
  libxcb-render.so.0:libxcb-render0 libxcb-xfixes.so.0:libxcb-xfixes0; do
  ldconfig -p 2>/dev/null | grep -q "${pair%%:*}" || missing="$missing ${pair##*:}"
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
