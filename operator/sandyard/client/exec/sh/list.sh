# list FOLDER: each name, ended by a zero, and a line of what stat says of it.
cd -- "$1" 2>/dev/null || {
  w="No such file or directory"
  if [ -d "$1" ]; then w="Permission denied"; elif [ -e "$1" ]; then w="Not a directory"; fi
  echo "$1: $w" >&2
  exit 1
}
for f in * .*; do
  case $f in .|..) continue ;; esac
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf '%s\000' "$f"
  stat -c '%f %s %Y %u %g' -- "$f" || echo 0 0 0 0 0
done
