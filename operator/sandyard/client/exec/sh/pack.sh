# pack FOLDER WAY: everything below it, as a tar stream or as the plain one. What cannot be read is told, and left out.
cd -- "$1" 2>/dev/null || {
  w="No such file or directory"
  if [ -d "$1" ]; then w="Permission denied"; elif [ -e "$1" ]; then w="Not a directory"; fi
  echo "$1: $w" >&2
  exit 1
}
if [ "$2" = tar ]; then exec tar -cf - .; fi
# Just so many bytes, whatever becomes of the file meanwhile.
give() { { cat "$1"; cat /dev/zero; } 2>/dev/null | head -c "$2"; }
walk() {
  [ -r "$1" ] && [ -x "$1" ] || { echo "$1: Permission denied" >&2; return; }
  for f in "$1"/* "$1"/.*; do
    case $f in */.|*/..) continue ;; esac
    if [ -L "$f" ]; then
      printf 'l 777 0\n%s\000%s\000' "$f" "$(readlink "$f")"
    elif [ -d "$f" ]; then
      m=$(stat -c %a "$f") || continue
      printf 'd %s 0\n%s\000\000' "$m" "$f"
      walk "$f"
    elif [ -f "$f" ]; then
      { m=$(stat -c %a "$f") && s=$(wc -c <"$f"); } 2>/dev/null || { echo "$f: cannot be read" >&2; continue; }
      printf 'f %s %s\n%s\000\000' "$m" "$((s))" "$f"
      give "$f" "$((s))"
    fi
  done
}
walk .
echo end
