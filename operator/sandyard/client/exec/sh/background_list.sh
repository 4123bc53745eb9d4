# Every background command: five fields that end with a zero each. Whatever a program inside has made of the files,
# no field is long, and none holds a zero.
say() { [ ! -f "$1" ] || head -c "$2" <"$1" | tr -d '\000'; }
for d in /tmp/.sandyard/proc/*/; do
  d=${d%/}
  [ -f "$d/pid" ] || continue
  x=-
  [ ! -e "$d/exit" ] || x=$(say "$d/exit" 20)
  printf '%s\000%s\000%s\000%s\000' "${d##*/}" "$(say "$d/pid" 20)" "$(say "$d/start" 20)" "$x"
  say "$d/cmd" 4096
  printf '\000'
done
