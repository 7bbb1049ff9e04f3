#!/bin/sh
# Installs the system libraries that MediaPipe and OpenCV load and a bare Debian or Ubuntu lacks; does nothing where they are.
set -eu
packages=
has() { /sbin/ldconfig -p | grep -q "$1"; }
has libEGL.so.1 || packages="$packages libegl1"
has libGLESv2.so.2 || packages="$packages libgles2"
has libGL.so.1 || packages="$packages libgl1"
has libxcb.so.1 || packages="$packages libxcb1"
has libgthread-2.0.so.0 || packages="$packages libglib2.0-0"
[ -n "$packages" ] || exit 0
command="apt-get install -y --no-install-recommends$packages"
if ! command -v apt-get >/dev/null; then
    echo "streamd needs these libraries (names of Debian packages):$packages; install them and run this again" >&2
    exit 69
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "streamd needs system libraries; run this and try again: sudo $command" >&2
    exit 69
fi
echo "Installing the system libraries that are missing:$packages"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words is meant
DEBIAN_FRONTEND=noninteractive $as_root $command >/dev/null
