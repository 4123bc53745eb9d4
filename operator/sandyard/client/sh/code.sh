# code FOLDER: runs the command of runner.sh in that folder, and measures it: "usage" gets the CPU time, as
# times(1) tells it, and "peak" the most memory, in pages, that was resident beyond what was before.
cd "$1" || exit 125
resident() {
  n=0
  for f in /proc/[0-9]*/statm; do read -r _ x _ <"$f" && n=$((n + x)); done 2>/dev/null
}
exec 3<&0
resident
b=$n p=0
/bin/sh ./runner.sh <&3 3<&- &
c=$!
exec 3<&-
sample() {
  while :; do
    resident
    [ $((n - b)) -le $p ] || { p=$((n - b)); echo $p >peak; }
    sleep 0.2 || sleep 1
  done
}
sample >/dev/null 2>&1 </dev/null &
s=$!
{ wait $c; } 2>/dev/null
r=$?
times >usage
{ kill $s; wait $s; } 2>/dev/null
exit $r
