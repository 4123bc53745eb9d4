# fetch PATH: the file as it is now, whatever is added to it meanwhile or put in its place. At its end 2 tells its mode
# and its sha256, or "-" for what is not known. What the kernel makes as it is read has no size, and is another each time.
[ ! -p "$1" ] && [ ! -S "$1" ] || { echo "$1: not a plain file" >&2; exit 1; }
[ ! -d "$1" ] || { echo "$1: Is a directory" >&2; exit 1; }
exec 3<"$1" 4<"$1" || exit 1
m=$(stat -Lc '%a %s' -- "$1" 2>/dev/null) || m="- $(($(wc -c <"$1")))"
s=${m#* } m=${m%% *} h=-
case $(readlink -f -- "$1" 2>/dev/null) in /proc/* | /sys/*) s=0 ;; esac
# In large pieces: gVisor takes its time for each call, and head reads 8 KiB at once.
f=
[ "$s" -le 131072 ] || ! dd if=/dev/null iflag=fullblock 2>/dev/null || f=iflag=fullblock
give() {
  dd bs=131072 count=$((s / 131072)) $f 2>/dev/null || return
  [ $((s % 131072)) = 0 ] || dd bs=$((s % 131072)) count=1 $f 2>/dev/null
}
if [ "$s" = 0 ]; then
  cat <&3 || exit
else
  give <&3 || exit
  h=$(give <&4 | sha256sum 2>/dev/null) || h=-
fi
echo "$m ${h%% *}" >&2
