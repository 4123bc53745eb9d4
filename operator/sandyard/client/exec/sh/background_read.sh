# read ID STDOUT_FROM STDERR_FROM MOST_BYTES SECONDS: what there is of both streams from there on, after a line
# that tells how things are. Waits so long for something new.
cd "/tmp/.sandyard/proc/$1" 2>/dev/null || exit 44
n=0
while :; do
  x=-
  # What the command has put there may be a pipe, and to open one is to wait.
  for f in stdout stderr; do [ ! -e "$f" ] || [ -f "$f" ] || exit 46; done
  [ ! -f exit ] || x=$(head -c 20 exit)
  so=$(wc -c <stdout) || so=0
  se=$(wc -c <stderr) || se=0
  [ "$x" != - ] || [ "$so" -gt "$2" ] || [ "$se" -gt "$3" ] || [ $n -ge $(($5 * 5)) ] && break
  n=$((n + 1))
  sleep 0.2 || sleep 1
done 2>/dev/null
t=0 c=0
[ ! -e timed_out ] || t=1
[ ! -e truncated ] || c=1
printf '%s %s %s %s %s\n' "$((so))" "$((se))" "$x" $t $c
[ "$so" -le "$2" ] || tail -c "+$(($2 + 1))" stdout | head -c "$4"
[ "$se" -le "$3" ] || tail -c "+$(($3 + 1))" stderr | head -c "$4" >&2
