# Every background command: five fields that end with a zero each.
for d in /tmp/.sandyard/proc/*/; do
  [ -e "$d/pid" ] || continue
  d=${d%/}
  x=-
  [ ! -e "$d/exit" ] || x=$(cat "$d/exit")
  printf '%s\000%s\000%s\000%s\000' "${d##*/}" "$(cat "$d/pid")" "$(cat "$d/start")" "$x"
  cat "$d/cmd"
  printf '\000'
done
