# odd FOLDER: what is below it and is neither a plain file nor a folder: its name, and its kind. A link that leads to a
# plain file, or to where one can be, is "lf", another one "lo", anything else "o". Each ends with a zero.
[ -d "$1" ] || exit 0
cd -- "$1" || exit
# shellcheck disable=SC2016
odd='
for f; do
  k=o
  if [ -L "$f" ]; then
    k=lo
    if [ -f "$f" ]; then k=lf; elif [ ! -e "$f" ] && readlink -f -- "$f" >/dev/null; then k=lf; fi
  fi
  printf "%s\000%s\000" "$f" "$k"
done 2>/dev/null'
walk() {
  for g in "$1"/* "$1"/.*; do
    case $g in */. | */..) continue ;; esac
    if [ -L "$g" ] || { [ -e "$g" ] && [ ! -f "$g" ] && [ ! -d "$g" ]; }; then
      (set -- "$g"; eval "$odd")
    elif [ -d "$g" ]; then
      walk "$g"
    fi
  done
}
if command -v find >/dev/null; then
  find . ! -type f ! -type d -exec /bin/sh -c "$odd" sh {} + 2>/dev/null
else
  walk .
fi
exit 0
