# collect FOLDER MOST_FILES MOST_BYTES PATTERNS...: what a program has left, as pack.sh does, then the folder goes.
# "skipped" names what was not taken.
chmod u+rwx -- "$1" "$1/artifacts" 2>/dev/null
cd -- "$1" || exit
d=$PWD m=$2 b=$3
shift 3
give() {
  s=$(($(wc -c <"$1")))
  printf 'f 644 %s\n%s\000\000' "$s" "$1"
  # Just so many bytes, whatever becomes of the file meanwhile.
  { cat "$1"; cat /dev/zero; } 2>/dev/null | head -c "$s"
}
rm -rf skipped
true >skipped
for f in artifacts/* artifacts/.[!.]*; do
  [ -e "$f" ] || [ -L "$f" ] || continue
  why=
  # Only what may be taken costs a program: there may be very many.
  if [ -L "$f" ] || [ ! -f "$f" ]; then why="no plain file"
  elif [ ! -r "$f" ]; then why="it cannot be read"
  elif [ "$m" -le 0 ]; then why="one file too many"
  else
    why="its kind is not taken"
    for e; do case $f in *.$e) why= ;; esac; done
    [ -n "$why" ] || { s=$(wc -c <"$f") && [ "$s" -gt "$b" ] && why="larger than $b bytes"; }
  fi
  if [ -n "$why" ]; then printf '%s: %s\n' "${f#*/}" "$why" >>skipped; else m=$((m - 1)); give "$f"; fi
done
if [ -f result.json ] && [ "$(wc -c <result.json)" -gt "$b" ]; then
  echo "result.json: larger than $b bytes" >>skipped
elif [ -f result.json ]; then
  give result.json
fi
# Of a cell: what it has shown, and what has become of its context.
if [ -f results.json ]; then
  if [ "$(wc -c <results.json)" -gt 16777216 ]; then echo "results.json: too large" >>skipped; else give results.json; fi
fi
for f in skipped usage peak no-runner lost ended; do [ ! -f "$f" ] || give "$f"; done
cd / && rm -rf -- "$d"
echo end
