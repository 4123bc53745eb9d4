# write PATH BYTES TAG [SHA256 [MODE]]: the input becomes the file, in one step, if all of it has arrived. Written
# beside the target, so that the last step is a rename; what a link names is written, and the link stays.
p=$1 n=$2
fail() { echo "$1" >&2; exit 1; }
case $p in
  */) fail "$p: Is a directory" ;;
  */*)
    t=${p%/*}
    t=${t:-/}
    [ ! -e "$t" ] || [ -d "$t" ] || fail "$t: Not a directory"
    [ -e "$t" ] || [ ! -L "$t" ] || fail "$t: a link that leads nowhere: No such file or directory"
    mkdir -p -- "$t" || exit
    ;;
esac
if [ -L "$p" ]; then
  l=$(readlink -f -- "$p" && echo .) || fail "$p: a link that leads nowhere: No such file or directory"
  l=${l%.}
  p=${l%?}
fi
[ ! -d "$p" ] || fail "$p: Is a directory"
[ ! -e "$p" ] || [ -f "$p" ] || fail "$p: not a plain file"
case $p in */*) t=${p%/*}/.sandyard-$3 ;; *) t=.sandyard-$3 ;; esac
trap 'rm -f -- "$t"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$t" || exit
s=$(wc -c <"$t") && [ "$s" -eq "$n" ] || fail "$s of $n bytes arrived"
if [ -n "$4" ] && h=$(sha256sum <"$t" 2>/dev/null); then
  [ "${h%% *}" = "$4" ] || fail "what arrived has another sha256"
fi
# A file that is new has the MODE, as chmod takes it.
if [ -e "$p" ]; then m=$(stat -c %a -- "$p") && chmod "$m" -- "$t"; else [ -z "$5" ] || chmod "$5" -- "$t"; fi 2>/dev/null
mv -f -- "$t" "$p"
