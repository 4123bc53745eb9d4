# code FOLDER: runs the command of runner.sh in that folder, and measures it: "usage" gets the CPU time, as
# times(1) tells it, and "peak" the most memory, in pages, that was resident beyond what was before. The program may
# have made anything of those names: what is there goes first.
cd "$1" || exit 125
resident() {
  _sy_n=0
  for _sy_f in /proc/[0-9]*/statm; do read -r _ _sy_x _ <"$_sy_f" && _sy_n=$((_sy_n + _sy_x)); done 2>/dev/null
}
resident
_sy_b=$_sy_n _sy_p=0 _sy_e=
# This shell may have dropped them, and the next one would.
[ -z "$SANDYARD_RAW_ENV" ] || _sy_e=$(sandyard_raw)
# The shell itself says nothing, as in run.sh: 4 is the program's standard error.
exec 3<&0 4>&2 2>/dev/null
sample() {
  while :; do
    resident
    [ $((_sy_n - _sy_b)) -le $_sy_p ] || { _sy_p=$((_sy_n - _sy_b)); rm -rf peak; echo $_sy_p >peak; }
    sleep 0.2 || sleep 1
  done
}
sample >/dev/null </dev/null 3<&- 4>&- &
_sy_s=$!
# Not in the background: there SIGINT would be ignored.
/bin/sh ./runner.sh "$_sy_e" <&3 2>&4 3<&- 4>&-
_sy_r=$?
rm -rf usage
# Not a redirection of "times" itself: where that fails, as in a folder that is gone, the shell would end.
{ times; } >usage
kill -s KILL $_sy_s
wait $_sy_s
exit $_sy_r
