#!/bin/sh
# Process 1 of the guest. VM_KIND, VM_CACHE and VM_SHARE come from the kernel's command line (unknown key=value words
# become init's environment). The host's file system is visible; what is written to it goes to memory and is gone
# afterwards, except in VM_SHARE.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
busybox=$VM_CACHE/bb/bin/busybox
if [ "$1" != second-stage ]; then
  $busybox mount -t proc proc /proc
  $busybox mount -t sysfs sys /sys
  $busybox mount -t devtmpfs dev /dev
  $busybox mount -t tmpfs -o mode=0755 tmpfs /mnt
  mkdir /mnt/up /mnt/work /mnt/root
  $busybox mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work root /mnt/root || {
    echo "guest: no overlay"
    $busybox poweroff -f
  }
  for folder in proc sys dev; do $busybox mount --move /$folder /mnt/root/$folder; done
  exec "$busybox" chroot /mnt/root "$0" second-stage
fi
mkdir -p /dev/shm /dev/pts
mkdir -p /dev/input # as on every real machine also before the first device: SDL watches it for new ones
$busybox mount -t tmpfs -o mode=1777 tmpfs /dev/shm
$busybox mount -t devpts devpts /dev/pts
$busybox mount -t tmpfs -o mode=0755 tmpfs /run
rm -rf /tmp/.X*-lock /tmp/.X11-unix
mkdir -m 1777 /tmp/.X11-unix
case $VM_KIND in
  qemu) $busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share "$VM_SHARE" ;;
  *) $busybox mount -t hostfs -o "$VM_SHARE" share "$VM_SHARE" ;;
esac
$busybox ifconfig lo 127.0.0.1 up
# SDL must read pads by the kernel's drivers, not past them by hidraw (which Debian's kernel has).
export SDL_JOYSTICK_HIDAPI=0
# A page fault costs 70 us in User Mode Linux, so that glibc must keep big blocks: RocketNet 4 ms instead of 36 (measured).
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 OMP_NUM_THREADS=1
sh "$VM_SHARE/command.sh" >"$VM_SHARE/output.txt" 2>&1 </dev/null
echo $? >"$VM_SHARE/exit"
sync
$busybox poweroff -f
