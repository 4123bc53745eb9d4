# Every context: five fields that end with a zero each, as of background commands.
say() { [ ! -f "$1" ] || head -c "$2" <"$1" | tr -d '\000'; }
for d in /tmp/.sandyard/contexts/*/; do
  d=${d%/}
  [ -f "$d/pid" ] || continue
  x=-
  [ ! -e "$d/exit" ] || x=$(say "$d/exit" 20)
  printf '%s\000%s\000%s\000%s\000' "${d##*/}" "$(say "$d/language" 20)" "$(say "$d/start" 20)" "$x"
  say "$d/cwd" 4096
  printf '\000'
done
