# list FOLDER: each name, ended by a zero, and a line of what stat says of it.
cd -- "$1" || exit
for f in * .*; do
  case $f in .|..) continue ;; esac
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf '%s\000' "$f"
  stat -c '%f %s %Y %u %g' -- "$f" || echo 0 0 0 0 0
done
