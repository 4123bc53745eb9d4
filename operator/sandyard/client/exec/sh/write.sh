# write PATH BYTES TAG [SHA256]: the input becomes the file, in one step, if all of it has arrived. Written
# beside the target, so that the last step is a rename.
p=$1 n=$2 t=$1.sandyard-$3
case $p in */*) mkdir -p -- "${p%/*}" || exit ;; esac
[ ! -d "$p" ] || { echo "$p: Is a directory" >&2; exit 1; }
trap 'rm -f -- "$t"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$t" || exit
s=$(wc -c <"$t") && [ "$s" -eq "$n" ] || { echo "only $s of $n bytes arrived" >&2; exit 1; }
if [ -n "$4" ] && h=$(sha256sum <"$t" 2>/dev/null); then
  [ "${h%% *}" = "$4" ] || { echo "what arrived has another sha256" >&2; exit 1; }
fi
[ ! -e "$p" ] || { m=$(stat -c %a -- "$p") && chmod "$m" -- "$t"; } 2>/dev/null
mv -f -- "$t" "$p"
