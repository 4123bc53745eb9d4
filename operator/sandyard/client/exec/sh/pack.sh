# pack FOLDER WAY: everything below it, as a tar stream or as the plain one.
cd -- "$1" || exit
if [ "$2" = tar ]; then exec tar -cf - .; fi
walk() {
  for f in "$1"/* "$1"/.*; do
    case $f in */.|*/..) continue ;; esac
    if [ -L "$f" ]; then
      printf 'l 777 0\n%s\000%s\000' "$f" "$(readlink "$f")"
    elif [ -d "$f" ]; then
      printf 'd %s 0\n%s\000\000' "$(stat -c %a "$f")" "$f"
      walk "$f"
    elif [ -f "$f" ]; then
      s=$(($(wc -c <"$f")))
      printf 'f %s %s\n%s\000\000' "$(stat -c %a "$f")" "$s" "$f"
      head -c "$s" "$f"
    fi
  done
}
walk .
echo end
