# read ID STDOUT_FROM STDERR_FROM MOST_BYTES SECONDS: what there is of both streams from there on, after a line
# that tells how things are. Waits so long for something new.
cd "/tmp/.sandyard/proc/$1" 2>/dev/null || exit 44
# Tenths of a second since the machine started: on a busy one a round takes much longer than its sleep.
now() {
  read -r u _ </proc/uptime
  u=${u%?}
  u=$((${u%.*} * 10 + ${u#*.}))
}
now
end=$((u + $5 * 10))
while :; do
  x=-
  # What the command has put there may be a pipe, and to open one is to wait.
  for f in stdout stderr; do [ ! -e "$f" ] || [ -f "$f" ] || exit 46; done
  [ ! -f exit ] || x=$(head -c 20 exit)
  so=$(wc -c <stdout) || so=0
  se=$(wc -c <stderr) || se=0
  [ "$x" != - ] || [ "$so" -gt "$2" ] || [ "$se" -gt "$3" ] || [ "$u" -ge $end ] && break
  sleep 0.2 || sleep 1
  now
done 2>/dev/null
t=0 c=0
[ ! -e timed_out ] || t=1
[ ! -e truncated ] || c=1
printf '%s %s %s %s %s\n' "$((so))" "$((se))" "$x" $t $c
[ "$so" -le "$2" ] || tail -c "+$(($2 + 1))" stdout | head -c "$4"
[ "$se" -le "$3" ] || tail -c "+$(($3 + 1))" stderr | head -c "$4" >&2
