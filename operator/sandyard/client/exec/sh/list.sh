# list FOLDER DEPTH: each name, ended by a zero; an empty one; a line of what stat says of each, and its name.
cd -- "$1" 2>/dev/null || {
  w="No such file or directory"
  if [ -d "$1" ]; then w="Permission denied"; elif [ -e "$1" ]; then w="Not a directory"; fi
  echo "$1: $w" >&2
  exit 1
}
if [ -n "$(find . -maxdepth 0 -print0 2>/dev/null | tr '\000' x)" ]; then
  # What is removed between the two is left out; a folder that cannot be entered is listed without what is in it.
  find . -mindepth 1 -maxdepth "$2" -print0 2>/dev/null
  printf '\000'
  find . -mindepth 1 -maxdepth "$2" -exec stat -c '%f %s %Y %u %g %n' -- {} + 2>/dev/null
  exit 0
fi
[ "$2" = 1 ] || { echo "$1: to list a folder's folders too, the image needs find" >&2; exit 1; }
for f in ./* ./.*; do
  case $f in ./.|./..) continue ;; esac
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf '%s\000' "$f"
done
printf '\000'
for f in ./* ./.*; do
  case $f in ./.|./..) continue ;; esac
  stat -c '%f %s %Y %u %g %n' -- "$f" 2>/dev/null
done
exit 0
